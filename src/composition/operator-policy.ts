/**
 * What the operator allows, from the settings.
 */
import type { Config } from '../config/config.ts';
import type { Limits } from '../domain/limits.ts';
import type { OperatorPolicy } from '../policy/decide.ts';

const MIB = 2 ** 20;

export function operatorPolicy(config: Config): OperatorPolicy {
  const limits = (which: 'DEFAULT' | 'MAX'): Limits => {
    const wallMs = config[`PYEXEC_${which}_TIMEOUT`] * 1000;
    const cpus = config[`PYEXEC_${which}_CPUS`];
    return {
      wall_ms: wallMs,
      cpu_ms: Math.ceil(wallMs * Math.max(1, cpus)),
      memory_bytes: config[`PYEXEC_${which}_MEMORY_MB`] * MIB,
      pids: config[`PYEXEC_${which}_PIDS`],
      disk_bytes: config[`PYEXEC_${which}_DISK_MB`] * MIB,
      output_bytes: config[`PYEXEC_${which}_OUTPUT_BYTES`],
      open_files: config[`PYEXEC_${which}_OPEN_FILES`],
      cpus,
    };
  };
  const defaults = limits('DEFAULT');
  const cpus = Math.min(config.PYEXEC_MAX_CPUS, (defaults.cpus * config.PYEXEC_DEFAULT_CPU_SHARES) / 1024);
  return {
    defaults: { ...defaults, cpus },
    maxima: limits('MAX'),
    runtime: config.PYEXEC_RUNTIME,
    network: config.PYEXEC_NETWORK_MODE,
    stdinBytesMax: config.PYEXEC_MAX_STDIN_MB * MIB,
    ...(config.PYEXEC_QUEUE_TIMEOUT > 0 ? { queueTimeoutMs: config.PYEXEC_QUEUE_TIMEOUT * 1000 } : {}),
    displays: { count: config.PYEXEC_DISPLAYS, bytes: config.PYEXEC_DISPLAY_MB * MIB },
    inputs: {
      count: config.PYEXEC_MAX_INPUTS,
      wallMs: config.PYEXEC_MAX_INPUTS_TIMEOUT * 1000,
      outputBytes: config.PYEXEC_MAX_INPUTS_OUTPUT_MB * MIB,
    },
    artifacts: {
      files: config.PYEXEC_ARTIFACT_FILES,
      bytes: config.PYEXEC_ARTIFACT_MB * MIB,
      inlineBytes: config.PYEXEC_ARTIFACT_INLINE_KB * 1024,
    },
  };
}
