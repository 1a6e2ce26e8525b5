import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { fsStore } from '../../stores/fs.ts';
import { memoryStore } from '../../stores/memory.ts';
import { failNth, faultyStore, systemError } from '../support/faulty-store.ts';
import { ask, content, expectProblem, expectProcessed, handshake, part, query } from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

const length = 300_000;
const body = content(length);

describe.each(storeKinds)('a full disk (%s)', (kind) => {
  const start = async () => {
    const folder = await mkdtemp(join(tmpdir(), 'resumable-full-'));
    folders.push(folder);
    const store = faultyStore(kind === 'fs' ? fsStore(folder) : memoryStore());
    return { store, service: await startService(kind, { store, batchBytes: 65_536 }) };
  };
  const range = (from: number, to: number) => ({
    headers: { 'Content-Range': part(from, to, length) },
    body: body.subarray(from, to),
  });

  test('while the body is written: 507, what was stored stays, and the rest goes in later', async () => {
    const { store, service } = await start();
    const { target } = await handshake(service, length);
    await ask(service, { target, ...range(0, 100_000) });
    store.hook = ({ op, when }) => {
      if (op === 'write' && when === 'before') throw systemError('ENOSPC');
    };
    expectProblem(await ask(service, { target, ...range(100_000, length) }), 507, 'no_space');
    store.hook = () => undefined;
    expect((await query(service, { target, headers: {} })).headers.range).toBe('bytes=0-99999');
    expectProcessed(await ask(service, { target, ...range(100_000, length) }), body);
  });

  test('when the upload is to be made: 507, and nothing of it is left', async () => {
    const { store, service } = await start();
    store.hook = failNth('create', 1, 'before', 'ENOSPC');
    expectProblem(await ask(service, { body }), 507, 'no_space');
    expect(await service.ids()).toEqual([]);
    expectProcessed(await ask(service, { body }), body);
  });

  test('when room for the response is reserved: 507 before the handler runs, and it runs later', async () => {
    const { store, service } = await start();
    const name = await handshake(service, length);
    store.hook = ({ op, when, record }) => {
      if (op === 'update' && when === 'before' && record?.state === 'claimed') throw systemError('ENOSPC');
    };
    expectProblem(await ask(service, { target: name.target, ...range(0, length) }), 507, 'no_space');
    expect(service.calls).toEqual([]);
    store.hook = () => undefined;
    expectProcessed(await query(service, name), body);
    expect(service.calls.map(({ attempt }) => attempt)).toEqual([1]);
  });
});
