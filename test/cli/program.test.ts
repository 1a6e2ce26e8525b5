import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { commandLine, programName } from '../../src/cli/invocation.ts';
import { byteCount, headerFields } from '../../src/cli/values.ts';
import { run } from './support.ts';

const words = ['serve', 'upload', 'download', 'ls', 'rm', 'gc'];

describe('help', () => {
  test('names every command, and the exit codes', async () => {
    const { code, stdout, stderr } = await run(['--help']);
    expect([code, stderr]).toEqual([0, '']);
    for (const word of words) expect(stdout).toMatch(new RegExp(`^  ${word} `, 'm'));
    expect(stdout).toContain('Exit codes: 0 done, 1 failed, 2 ');
    expect(stdout).toContain('130 interrupted');
  });

  test.each(words)('%s has its own, which says the same in three ways', async (word) => {
    const [help, short, long] = await Promise.all([
      run(['help', word]),
      run([word, '-h']),
      run([word, 'x', '--help', '--nonsense']),
    ]);
    expect(help.code).toBe(0);
    expect(help.stdout).toMatch(new RegExp(`^Usage: resumable-http ${word} `));
    expect(help.stdout).toContain('Exit codes:');
    for (const line of help.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(125);
    expect([short, long]).toEqual([help, help]);
  });
});

test('--version is that of the package', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

test.each<[string, string[], string]>([
  ['no command', [], 'a command is missing'],
  ['an unknown command', ['uplaod', 'a'], 'unknown command: uplaod'],
  ['an unknown option before it', ['--fast'], 'unknown option: --fast'],
  ['an unknown option', ['upload', '--fast'], "Unknown option '--fast'"],
  ['an option without its value', ['upload', '--parallel'], "Option '--parallel <value>' argument missing"],
  ['no URL', ['upload'], 'upload needs a FILE and a URL'],
  ['no FILE', ['upload', 'http://127.0.0.1/'], 'upload needs a FILE before the URL'],
  [
    'a URL that is none',
    ['upload', 'a', 'localhost:8080/upload'],
    'not a URL: localhost:8080/upload (it has to',
  ],
  ['another kind of URL', ['download', 'ftp://a/b'], 'not a URL: ftp://a/b'],
  ['no URL to download', ['download'], 'download needs a URL'],
  ['two files of one download', ['download', 'http://a/', 'b', 'c'], 'download takes one URL and one FILE'],
  ['no connections', ['upload', '--parallel', '0', 'a', 'http://a/'], '--parallel must be 1 to 64'],
  ['no size', ['upload', '--max-request', '1x', 'a', 'http://a/'], '--max-request must be a number of bytes'],
  ['no header', ['download', '--header', 'a', 'http://a/'], "--header must be 'Name: value'"],
  ['one name for two', ['upload', '--name', 'a', 'b', 'c', 'http://a/'], '--name is for one file'],
  ['standard input twice', ['upload', '-', '-', 'http://a/'], '"-" can be read only once'],
  ['nothing to remove', ['rm'], 'rm needs an ID'],
  ['a store that is gone', ['ls', '--store', 'memory'], '--store memory ends with its process'],
  ['no bucket', ['gc', '--store', 's3'], '--bucket is missing'],
  ['operands of serve', ['serve', 'folder'], 'serve takes no folder'],
])('%s is refused in one line and a hint, with 2', async (_, args, message) => {
  const { code, stdout, stderr } = await run(args);
  expect([code, stdout]).toEqual([2, '']);
  const [line, hint, ...more] = stderr.split('\n');
  expect(line).toContain(message);
  expect(hint).toMatch(/^Usage: resumable-http .+--help says more\)$/);
  expect(more).toEqual(['']);
});

test('the command to go on with is one that a shell takes, and shows no secret', () => {
  const args = ['--header', 'X-Api-Key: abc', '--header=Cookie: a=b', "it's", 'a b', 'http://key:8/token:x'];
  expect(commandLine('upload', args)).toMatch(
    /^(npx )?resumable-http upload --header 'X-Api-Key: …' '--header=Cookie: …' 'it'\\''s' 'a b' http:\/\/key:8\/token:x$/,
  );
  expect([programName({}), programName({ npm_command: 'exec' })]).toEqual([
    'resumable-http',
    'npx resumable-http',
  ]);
});

test('sizes and headers are read as they are meant', () => {
  expect(['1', '64K', '2m', '1G'].map((text) => byteCount('x', text))).toEqual([
    1,
    65_536,
    2_097_152,
    2 ** 30,
  ]);
  expect(headerFields(['A: b: c ', 'X-Y:'])).toEqual({ a: 'b: c', 'x-y': '' });
});
