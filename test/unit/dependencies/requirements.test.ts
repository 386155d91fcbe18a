/** The grammar of requirements: what is understood, in its one form, and what is not taken (D02). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packagePolicy, checkAllowed } from '../../../src/dependencies/package-policy.ts';
import { parseRequirements } from '../../../src/dependencies/requirements.ts';
import { ServiceError } from '../../../src/domain/errors.ts';

const LIMITS = { count: 20, bytes: 4096 };
const HASH = 'a'.repeat(64);
const linesOf = (text: string) => parseRequirements(text, LIMITS).map(({ line }) => line);
const refusalOf = (text: string) => {
  try {
    parseRequirements(text, LIMITS);
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error(`taken: ${JSON.stringify(text)}`);
};

describe('what is taken', () => {
  it.each<[string, string[]]>([
    ['numpy', ['numpy']],
    ['  Numpy  ', ['numpy']],
    ['Foo.Bar__baz-qux', ['foo-bar-baz-qux']],
    ['numpy==1.26.4', ['numpy==1.26.4']],
    ['numpy >= 1.20 , < 2', ['numpy<2,>=1.20']],
    ['numpy (>=1.20,<2)', ['numpy<2,>=1.20']],
    ['numpy==1.*', ['numpy==1.*']],
    ['numpy~=1.26', ['numpy~=1.26']],
    ['a==1!2.0RC1.post3.dev4+Local.5', ['a==1!2.0rc1.post3.dev4+local.5']],
    ['a===1.0', ['a===1.0']],
    ['Requests[Socks,use_chardet]>=2', ['requests[socks,use-chardet]>=2']],
    ['a[]', ['a']],
    ['a ; python_version < "3.12"', ['a ; python_version < "3.12"']],
    [
      "a;(sys_platform=='linux' or os_name == 'posix')and 'x86' not  in platform_machine",
      ['a ; (sys_platform == "linux" or os_name == "posix") and "x86" not in platform_machine'],
    ],
    [`a==1 --hash=sha256:${HASH.toUpperCase()}`, [`a==1 --hash=sha256:${HASH}`]],
    [`a==1 \\\n    --hash=sha256:${HASH} \\\n    --hash sha256:${HASH}`, [`a==1 --hash=sha256:${HASH}`]],
    ['# a comment\n\nb # another\r\n', ['b']],
    ['b\na\n', ['a', 'b']],
    ['\uFEFFa', ['a']],
    ['a; python_version<"3"\na; python_version>="3"', ['a ; python_version < "3"', 'a ; python_version >= "3"']],
    ['', []],
    ['# only a comment \\\n', []],
  ])('%j', (text, lines) => {
    expect(linesOf(text)).toEqual(lines);
  });

  it('is understood again, and means the same', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?$/);
    const version = fc.stringMatching(/^(0|[1-9][0-9]?)(\.[0-9]{1,2}){0,2}(rc[0-9])?$/);
    const operator = fc.constantFrom('==', '!=', '>=', '<=', '<', '>');
    fc.assert(
      fc.property(name, fc.array(fc.tuple(operator, version), { maxLength: 3 }), (named, clauses) => {
        const [line = ''] = linesOf(named + clauses.map(([op, number]) => ` ${op} ${number}`).join(','));
        expect(linesOf(line)).toEqual([line]);
      }),
    );
  });
});

describe('D02 what is refused', () => {
  it.each([
    '-e .',
    '-r other.txt',
    '--requirement=x',
    '-c constraints.txt',
    '--index-url https://evil.example/simple',
    '-i https://evil.example/simple',
    '--extra-index-url https://evil.example/simple',
    '--find-links .',
    '--trusted-host evil.example',
    '--no-binary :all:',
    '--pre',
    'git+https://github.com/a/b',
    'git+ssh://git@github.com/a/b#egg=b',
    'https://evil.example/x.whl',
    'file:///etc/passwd',
    'file:x',
    'name @ http://169.254.169.254/x.whl',
    'name@https://evil.example/x.whl',
    'name[extra] @ file:///x.whl',
    '../x',
    './x',
    '/x/y.whl',
    '~/x',
    '.',
    'x/y',
    'x\\y',
    'C:\\x',
    'a.whl/../b',
    'a --no-deps',
    'a --hash=md5:d41d8cd98f00b204e9800998ecf8427e',
    `a==1 --hash=sha256:${'a'.repeat(63)}`,
    `a==1 --hash=sha256:${'a'.repeat(65)}`,
    `a==1 --hash=sha256:${'g'.repeat(64)}`,
    `a==1 --global-option=x`,
    `a==1 --hash=sha256:${HASH} -e .`,
    'a b',
    'a#no comment',
    'a, b',
    'a=1',
    'a==',
    'a==1,,',
    'a>=1.*',
    'a~=1',
    'a==1;',
    'a; nonsense == "1"',
    'a; python_version',
    'a; python_version < 3',
    'a; "1" == "1"',
    'a; python_version < "3" and',
    'a; (python_version < "3"',
    'a; python_version < "\\"',
    `a; ${'('.repeat(40)}python_version < "3"${')'.repeat(40)}`,
    'a[',
    'a[b',
    'a[b c]',
    'a[b,]',
    '-a',
    '_a',
    'a-',
    'é',
    'a\u0000b',
    'a\u2028-e .',
    '${HOME}',
    '$(id)',
    'a;python_version<"3";os_name=="x"',
    'a\na',
    'a\nA',
    'x'.repeat(5000),
    Array.from({ length: 21 }, (_, number) => `p${String(number)}`).join('\n'),
  ])('%j', (text) => {
    expect(refusalOf(text)).toMatchObject({ code: 'requirements_invalid', status: 422 });
  });

  it('with the line at fault, and without the text of it', () => {
    const error = refusalOf('a\n# b\n\nc \\\n ==1\n--index-url https://user:secret@evil.example/');
    expect(error.members).toEqual({ field: 'requirements', line: 6 });
    expect(error.message).toMatch(/^Line 6 is an option/);
    expect(error.message).not.toContain('secret');
  });

  it('whatever it is, in time', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300, unit: 'binary' }), (text) => {
        try {
          for (const line of linesOf(text)) expect(line).toMatch(/^[a-z0-9][\x20-\x7E]*$/);
        } catch (error) {
          expect(error).toMatchObject({ code: 'requirements_invalid' });
        }
      }),
    );
    for (const text of [
      `a==${'1.'.repeat(2000)}`,
      `a${'-'.repeat(4000)}`,
      `a;${'('.repeat(4000)}`,
      `a==1${'-1'.repeat(2000)}`,
    ])
      expect(refusalOf(text)).toMatchObject({ code: 'requirements_invalid' });
  });
});

describe('which packages may be asked for', () => {
  const asked = parseRequirements('Foo_Bar\nbaz', LIMITS);

  it('any', () => {
    checkAllowed(asked, packagePolicy('any', []));
  });

  it('those on the list, however they are spelled', () => {
    checkAllowed(asked, packagePolicy('allow-list', ['foo.bar', 'BAZ']));
    expect(() => {
      checkAllowed(asked, packagePolicy('allow-list', ['foo.bar']));
    }).toThrow(
      expect.objectContaining({
        code: 'requirements_not_allowed',
        members: { field: 'requirements', package: 'baz' },
      }) as Error,
    );
  });

  it('none, with an empty list or when it is off; asking for nothing is always right', () => {
    for (const policy of [packagePolicy('allow-list', []), packagePolicy('off', ['foo-bar', 'baz'])]) {
      expect(() => {
        checkAllowed(asked, policy);
      }).toThrow(ServiceError);
      checkAllowed([], policy);
    }
  });
});
