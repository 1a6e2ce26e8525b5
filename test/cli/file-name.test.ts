import { describe, expect, test } from 'vitest';
import { nameOf, safeName } from '../../src/cli/file-name.ts';

describe('a proposed name', () => {
  test.each([
    ['film.mp4', 'film.mp4'],
    ['../../etc/passwd', 'passwd'],
    ['..\\..\\boot.ini', 'boot.ini'],
    ['/etc/cron.d/job', 'job'],
    ['C:\\autoexec.bat', 'autoexec.bat'],
    ['.bashrc', 'bashrc'],
    ['...hidden', 'hidden'],
    ['a\u001b[2Jb\n\r\u0000.txt', 'a[2Jb.txt'],
    ['photo\u202egpj.exe', 'photogpj.exe'],
    ['a<b>:"|?*.txt', 'a_b______.txt'],
    ['con.txt', '_con.txt'],
    ['LPT1', '_LPT1'],
    ['name. . ', 'name'],
    ['фильм 電影.mp4', 'фильм 電影.mp4'],
    ['a\ud800b', 'a\ufffdb'],
  ])('%j becomes %j', (proposed, name) => {
    expect(safeName(proposed)).toBe(name);
  });

  test.each(['', '.', '..', '/', 'a/', '...', ' ', '\u0000'])('%j is none', (proposed) => {
    expect(safeName(proposed)).toBeUndefined();
  });

  test('is cut to what a file system bears, and keeps its extension', () => {
    const name = safeName(`${'電'.repeat(300)}.mp4`) ?? '';
    expect(Buffer.byteLength(`${name}.partial.json.new`)).toBeLessThanOrEqual(255);
    expect(name).toMatch(/^電{60,}\.mp4$/);
  });
});

test.each([
  ['attachment; filename="a.txt"', '/b.txt', 'a.txt'],
  ['attachment; filename="x"; filename*=UTF-8\'\'%E2%82%AC.txt', '/b.txt', '€.txt'],
  ['attachment; filename=".."', '/b.txt', 'b.txt'],
  ['attachment', '/b.txt', 'b.txt'],
  ['nonsense=', '/b.txt', 'b.txt'],
  [undefined, '/files/b%20c.txt/', 'b c.txt'],
  [undefined, '/files/..%2f..%2fpasswd', 'passwd'],
  [undefined, '/%ff%fe', '%ff%fe'],
  [undefined, '/', 'download'],
])('of %j and %j it is %j', (disposition, path, name) => {
  expect(nameOf(disposition, new URL(path, 'http://127.0.0.1'))).toBe(name);
});
