import { describe, expect, test } from 'vitest';
import { cuttingProxy } from '../../bench/lib/cutting-proxy.ts';
import { memorySource } from '../../src/client/content.ts';
import { FetchTransport } from '../../src/client/fetch-transport.ts';
import { readOptions, type UploadOptions } from '../../src/client/options.ts';
import { startUpload, type Upload } from '../../src/client/upload.ts';
import { content, sha256 } from '../support/requests.ts';
import { afterwards, answer, done, named, type Reply, ranges, scripted } from '../support/scripted-server.ts';
import { startService } from '../support/service.ts';

// The same transport as in a browser without XMLHttpRequest; here it is Node's `fetch` that follows and fails.

const bytes = content(1_000_000);
const ten = Buffer.from('0123456789');
const quick: UploadOptions = { retry: { minMs: 2, maxMs: 10, maxCount: 5 } };

const upload = (url: string, source: Uint8Array, options: UploadOptions = quick): Upload =>
  startUpload(
    new URL(url),
    () => Promise.resolve(memorySource(source)),
    readOptions(options),
    new FetchTransport(),
    (body) => body,
  );

describe('over fetch', () => {
  test('an upload goes through the 308 that is followed by itself, and through cuts', async () => {
    const service = await startService('memory');
    const cuts = [300_000, 900_000].map((afterBytes) => ({ afterBytes, means: 'rst' as const }));
    const proxy = await cuttingProxy({ target: service.port, cuts });
    afterwards(() => proxy.close());
    const options = { ...quick, maxRequestBytes: 400_000 };
    const up = upload(`http://127.0.0.1:${proxy.port}/upload`, bytes, options);
    const { body } = await up.result;
    expect(JSON.parse(new TextDecoder().decode(body))).toEqual({ size: bytes.length, sha256: sha256(bytes) });
    expect(proxy.stats.cuts).toBe(2);
    expect(up.state()?.location).toMatch(/upload_id=/);
  });

  test('no answer within the time is a lost connection', async () => {
    const silent: Reply = () => {};
    const { url, seen } = await scripted(named, silent, answer(308, { Range: '0-4' }), done);
    await upload(url, ten, { ...quick, stallTimeoutMs: 100 }).result;
    expect(ranges(seen)).toEqual(['bytes */10', 'bytes 0-9/10', 'bytes */10', 'bytes 5-9/10']);
  });

  test('an abort rejects with its reason, and what onProgress throws is not taken for a lost connection', async () => {
    const silent: Reply = () => {};
    const { url } = await scripted(named, silent);
    const abort = new AbortController();
    const up = upload(url, ten, { ...quick, signal: abort.signal });
    for await (const { state } of up) if (state === 'sending') break;
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(up.result).rejects.toBe(reason);
    const other = await scripted(named, done);
    const onProgress = ({ sent }: { readonly sent: number }): void => {
      if (sent === 10) throw new RangeError('mine');
    };
    await expect(upload(other.url, ten, { ...quick, onProgress }).result).rejects.toThrow('mine');
  });
});
