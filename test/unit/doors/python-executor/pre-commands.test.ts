import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { commandChain } from '../../../../src/doors/python-executor/pre-commands.ts';

describe('pre_commands', () => {
  it('are followed by the program, named in full', () => {
    expect(commandChain(['cd sub'], './a/../main.py', ['x'])).toEqual(['cd sub', "exec python3 '/work/main.py' 'x'"]);
    expect(commandChain(['true'], '.', [])).toEqual(['true', "exec python3 '/work'"]);
    expect(commandChain(['true'], 'pkg/', [])).toEqual(['true', "exec python3 '/work/pkg'"]);
  });

  it.each([[[]], [['']], [['  \n\t']], [['# only this']], [['\n# a\n  # b\n', '']]])(
    '%j are none: the program needs no shell',
    (commands) => {
      expect(commandChain(commands, 'main.py', ['x'])).toEqual([]);
    },
  );

  it.each(["it's", '', 'a b', '$HOME', '`id`', '\\', '"', '\n', '*', "'; id; '", 'ä😀'])(
    'leave the argument %j as it is',
    (argument) => {
      const [, last = ''] = commandChain(['true'], 'main.py', [argument]);
      const { stdout } = spawnSync('sh', ['-c', last.replace('exec python3', 'printf "%s\\0"')]);
      expect(stdout.toString()).toBe(`/work/main.py\0${argument}\0`);
    },
  );
});
