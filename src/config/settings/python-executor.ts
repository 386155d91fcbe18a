/** Settings: for clients of python-executor. */
import { type SettingTable, boolean, list, unsupported } from '../setting-schemas.ts';

export const PYTHON_EXECUTOR_SETTINGS = {
  PYEXEC_AUTO_DETECT_IMPORTS: {
    schema: boolean,
    fallback: 'true',
    about: 'Whether /eval looks for packages in the code it is given.',
  },
  PYEXEC_PYTHON_IMAGES: {
    schema: list,
    fallback: '',
    about:
      'Images for the `python_version` of /eval, as comma-separated `version=image`. Images that may be run and carry the label `pyexec.python` are known without being listed.',
  },
  PYEXEC_CONSUL_ADDR: {
    schema: unsupported('is not supported: executions are kept by the service itself'),
    fallback: undefined,
    about: 'Not supported; setting it stops the boot.',
  },
  PYEXEC_CONSUL_TOKEN: {
    schema: unsupported('is not supported: executions are kept by the service itself'),
    fallback: undefined,
    about: 'Not supported; setting it stops the boot.',
  },
  PYEXEC_CONSUL_PREFIX: {
    schema: unsupported('is not supported: executions are kept by the service itself'),
    fallback: undefined,
    about: 'Not supported; setting it stops the boot.',
  },
} as const satisfies SettingTable;
