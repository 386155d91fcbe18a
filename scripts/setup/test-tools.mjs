/**
 * The ordinary programs the tests use as a user would: installed where that is
 * possible, named where it is not. Tests that miss one are skipped, and fail
 * where CI=true.
 */
import { aptInstall, hasApt, isRoot, which } from './host.mjs';
import { say } from './report.mjs';

/** Each named as its Debian package is. */
const TOOLS = ['curl', 'jq', 'tar', 'gzip', 'openssl', 'python3', 'git', 'strace'];

export async function ensureTestTools() {
  const missing = TOOLS.filter((tool) => which(tool) === undefined);
  if (missing.length === 0) return;
  if (isRoot() && hasApt()) await aptInstall('the tests use them', [...missing, 'ca-certificates']);
  else say(`tests that need ${missing.join(', ')} will be skipped: run \`sudo apt-get install ${missing.join(' ')}\``);
}
