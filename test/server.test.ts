import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startUploadServer, type UploadServer } from '../bench/lib/upload-server.ts';
import { closeClients } from './support/raw-client.ts';
import {
  ask,
  content,
  expectProblem,
  handshake,
  open,
  query,
  sha256,
  untilStored,
} from './support/requests.ts';

// The server behind `npm start`, as a process of its own.

let folder = '';
const servers: UploadServer[] = [];
const whole = content(300_000);
const answer = { size: whole.length, sha256: sha256(whole) };

const start = async (...args: string[]): Promise<UploadServer> => {
  const server = await startUploadServer(['--dir', folder, ...args]);
  servers.push(server);
  return server;
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'resumable-server-'));
});

afterEach(async () => {
  closeClients();
  for (const server of servers.splice(0)) {
    server.kill('SIGKILL');
    await server.exited();
  }
  await rm(folder, { recursive: true, force: true });
});

describe('SIGTERM', () => {
  test('lets an upload finish that does so in time, then ends with 0', async () => {
    const server = await start();
    const client = await open(server, { body: whole.subarray(0, 100_000), length: whole.length });
    const { target } = await handshake(server, 10); // answered, so the server has read what came before
    expect(target).toContain('upload_id=');
    server.kill('SIGTERM');
    await client.write(whole.subarray(100_000));
    expect(JSON.parse(String((await client.response()).body))).toMatchObject(answer);
    await client.close();
    expect(await server.exited()).toBe(0);
  });

  test('keeps what a hanging upload has brought, ends with 0, and the next server goes on', async () => {
    const server = await start();
    const name = await handshake(server, whole.length);
    await open(server, {
      target: name.target,
      headers: { 'Content-Range': `bytes 0-${whole.length - 1}/${whole.length}` },
      body: whole.subarray(0, 123_456),
      length: whole.length,
    });
    await untilStored(server, name, 'bytes=0-123455');
    server.kill('SIGTERM');
    expect(await server.exited()).toBe(0);
    const next = await start();
    expect((await query(next, name)).headers.range).toBe('bytes=0-123455');
    const done = await ask(next, {
      target: name.target,
      headers: { 'Content-Range': `bytes 123456-${whole.length - 1}/${whole.length}` },
      body: whole.subarray(123_456),
    });
    expect(JSON.parse(String(done.body))).toMatchObject(answer);
  });
});

test('PUT /upload/NAME is one operation, POST /upload any number, and GET /files/ID the content', async () => {
  const server = await start('--handshake', 'etag', '--durability', 'process');
  const put = { method: 'PUT', target: '/upload/film-1.mp4', body: whole };
  const [first, again] = [await ask(server, put), await ask(server, put)];
  expect([first.status, again.status]).toEqual([201, 201]);
  expect(String(again.body)).toBe(String(first.body));
  const { id, ...facts } = JSON.parse(String(first.body)) as { id: string };
  expect(facts).toEqual(answer);
  expect(first.headers.location).toBe(`/files/${id}`);
  const posts = [await ask(server, { body: whole }), await ask(server, { body: whole })];
  expect(new Set([id, ...posts.map(({ body }) => JSON.parse(String(body)).id)]).size).toBe(3);
  const file = await ask(server, { method: 'GET', target: `/files/${id}` });
  expect([file.status, sha256(file.body)]).toEqual([200, answer.sha256]);
  const empty = await ask(server, { body: '' });
  expect(JSON.parse(String(empty.body))).toMatchObject({ size: 0 });
});

test('other requests are told what they are', async () => {
  const server = await start('--store', 'memory');
  for (const name of ['a%2Fb', '..%2f', 'ü', 'x'.repeat(129), '']) {
    const reply = await ask(server, { method: 'PUT', target: `/upload/${encodeURI(name)}`, body: whole });
    expectProblem(reply, 400, 'malformed_name');
  }
  expect((await ask(server, { method: 'GET', target: '/upload' })).status).toBe(405);
  expect((await ask(server, { method: 'POST', target: '/upload/name', body: whole })).status).toBe(405);
  expect((await ask(server, { method: 'GET', target: '/files/none' })).status).toBe(404);
  expect((await ask(server, { method: 'GET', target: '/../etc/passwd' })).status).toBe(404);
});

test.each([
  [['serve', '--port', 'http'], '--port must be 0 to 65535'],
  [['serve', '--store', 'tape'], '--store must be one of: fs, sqlite, memory'],
  [['serve', '--nonsense'], "Unknown option '--nonsense'"],
  [[], 'a command is missing'],
])('%j is refused with what is wrong and how to use it', async (args, message) => {
  const cli = new URL('../src/cli.ts', import.meta.url).pathname;
  const run = promisify(execFile)(process.execPath, ['--import', 'tsx', cli, ...args]);
  await expect(run).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
  await expect(run).rejects.toMatchObject({ stderr: expect.stringContaining('Usage: resumable-http') });
});
