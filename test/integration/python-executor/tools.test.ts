/**
 * examples/tools against a live service: a model that asks for a call, the call run
 * by /eval, its result given back, for both formats.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../support/examples-commands.ts';
import { Door } from '../../support/python-executor-requests.ts';

let door: Door;
beforeAll(async () => {
  door = await Door.open();
});
afterAll(() => door[Symbol.asyncDispose]());

const agent = (...args: string[]) =>
  run('python3', [
    'examples/tools/scripted_model.py',
    'python3',
    'examples/tools/agent.py',
    ...args,
    'What is the mean?',
  ]);

describe.each(['openai', 'anthropic'])('an agent, %s', (format) => {
  it('calls, reads what went wrong, calls again and answers', async () => {
    const { status, stdout, stderr } = await agent('--service', door.url, '--format', format);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout.toString().match(/^(?:->|answer).*$/gm)).toEqual([
      '-> error_type: NameError',
      '-> error_line: 2',
      '-> result: 3.875',
      'answer: The mean is 3.875.',
    ]);
  });

  it('fails where the tool cannot be had', async () => {
    const { status, stderr } = await agent('--service', `${door.url}/nothing`, '--format', format);
    expect(status).toBe(1);
    expect(stderr).toContain('the service answered 404');
  });
});

it('a format nobody has is refused with those there are', async () => {
  const answer = await door.request('/api/v1/tools?format=x');
  expect(answer).toMatchObject({ status: 400, body: { error: 'format must be one of openai, anthropic.' } });
  expect((await door.request('/api/v1/tools')).text).toBe((await door.request('/api/v1/tools?format=openai')).text);
});
