import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { commandChain } from '../../../src/policy/command-chain.ts';

const script = (path: string) => ({ kind: 'script', path }) as const;

describe('pre_commands', () => {
  it('are followed by the program, named in full', () => {
    expect(commandChain(['cd sub'], script('./a/../main.py'), ['x'])).toEqual([
      'cd sub',
      "exec python3 '/work/main.py' 'x'",
    ]);
    expect(commandChain(['true'], script('.'), [])).toEqual(['true', "exec python3 '/work'"]);
    expect(commandChain(['true'], script('pkg/'), [])).toEqual(['true', "exec python3 '/work/pkg'"]);
  });

  it('can precede a module', () => {
    expect(commandChain(['true'], { kind: 'module', name: 'a.b' }, ['x'])).toEqual([
      'true',
      "exec python3 '-m' 'a.b' 'x'",
    ]);
  });

  it.each([[[]], [['']], [['  \n\t']], [['# only this']], [['\n# a\n  # b\n', '']]])(
    '%j are none: the program needs no shell',
    (commands) => {
      expect(commandChain(commands, script('main.py'), ['x'])).toEqual([]);
    },
  );

  it.each(["it's", '', 'a b', '$HOME', '`id`', '\\', '"', '\n', '*', "'; id; '", 'ä😀'])(
    'leave the argument %j as it is',
    (argument) => {
      const [, last = ''] = commandChain(['true'], script('main.py'), [argument]);
      const { stdout } = spawnSync('sh', ['-c', last.replace('exec python3', 'printf "%s\\0"')]);
      expect(stdout.toString()).toBe(`/work/main.py\0${argument}\0`);
    },
  );
});
