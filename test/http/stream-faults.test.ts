import { expect, test } from 'vitest';
import { memoryStore } from '../../stores/memory.ts';
import { faultyStore, type Hook, systemError } from '../support/faulty-store.ts';
import {
  ask,
  content,
  expectProblem,
  expectProcessed,
  handshake,
  open,
  part,
  untilStored,
} from '../support/requests.ts';
import { type Options, type Service, startService } from '../support/service.ts';

// A handler that has begun and a request that ends badly, in the order that is the less likely.

const whole = content(100_000);
const { byteLength: length } = whole;

const start = (hook: Hook, options: Options = {}): Promise<Service> =>
  startService('memory', { mode: 'stream', store: faultyStore(memoryStore(), hook), ...options });

test('who sends what is cancelled is told 410, also where its handler has failed of that already', async () => {
  let isRemoved = false;
  const service = await start(async ({ op, when, record }) => {
    if (record?.state === 'removed') isRemoved = true;
    if (op !== 'sync' || when !== 'before' || !isRemoved) return;
    await expect.poll(() => service.listener.usage().completions).toBe(0);
  });
  const name = await handshake(service, length);
  const headers = { 'Content-Range': part(0, length, length) };
  const client = await open(service, { ...name, headers, length, body: whole.subarray(0, 300) });
  await untilStored(service, name, 'bytes=0-299');
  expect((await ask(service, { ...name, method: 'DELETE' })).status).toBe(204);
  expectProblem(await client.response(), 410, 'gone');
  expect(service.errors).toEqual([]);
});

test('who sends too much is told 413, also where its handler has failed of that already', async () => {
  const service = await start(
    async ({ op, when }) => {
      if (op === 'purge' && when === 'after') {
        await expect.poll(() => service.listener.usage().completions).toBe(0);
      }
    },
    { maxLength: 1000 },
  );
  expectProblem(await ask(service, { body: whole, chunk: 300 }), 413, 'too_large');
  expect([service.calls.length, await service.ids()]).toEqual([1, []]);
});

test('what was answered stays, also where the store fails when its request ends', async () => {
  let isFinished = false;
  let faults = 0;
  const service = await start(({ op, when, record }) => {
    if (record?.state === 'finished' && when === 'after') isFinished = true;
    if (op !== 'load' || when !== 'before' || !isFinished || faults > 0) return;
    faults++;
    throw systemError('EMFILE');
  });
  expectProcessed(await ask(service, { body: whole }), whole);
  await expect.poll(() => service.listener.usage().liveUploads).toBe(0);
  const [id = ''] = await service.ids();
  expect(await service.listener.find(id)).toMatchObject({ state: 'finished', length });
  expect([faults, service.errors.length]).toEqual([1, 1]);
});
