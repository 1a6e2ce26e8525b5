import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { DeleteObjectCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startUploadServer } from '../../bench/lib/upload-server.ts';
import type { UploadRecord } from '../../src/store.ts';
import { type S3Store, s3Store } from '../../stores/s3.ts';
import { ask, content, sha256 } from '../support/requests.ts';
import { type S3Double, type S3DoubleOptions, startS3Double } from '../support/s3/double.ts';

const code = 'RESUMABLE_HTTP_S3_CONDITIONAL_WRITES';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Of a bucket of its own name: what a process knows of one it knows by its address, and a port may be given out again. */
const start = async (options: S3DoubleOptions = {}): Promise<S3Double> => {
  const buckets = [`bucket-${randomBytes(6).toString('hex')}`];
  const double = await startS3Double({ minPartSize: 1024, buckets, ...options });
  cleanups.push(() => double.close());
  return double;
};

const open = (double: S3Double, config: S3ClientConfig = {}, bucket = double.bucket): S3Store => {
  const client = new S3Client({ ...double.clientConfig, maxAttempts: 1, ...config });
  cleanups.push(() => client.destroy());
  return s3Store({ client, bucket, partSize: 4096, provider: { minPart: 1024 } });
};

const record = (): UploadRecord => ({
  id: randomBytes(16).toString('base64url'),
  createdAt: Date.now(),
  state: 'open',
  length: 10,
  metadata: {},
  attempt: 0,
});

/** What is told with the code; other warnings are not looked at. */
const warnings = (): (() => string[]) => {
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  return () =>
    spy.mock.calls.flatMap(([text, options]) =>
      (options as { readonly code?: string } | undefined)?.code === code ? [String(text)] : [],
    );
};

const probes = (double: S3Double): string[] =>
  double.log.filter(({ key }) => key.includes('-probe-')).map(({ operation }) => operation);

describe('conditional writes', () => {
  test('are tried once per process and bucket, before the first write, and nothing is left of it', async () => {
    const told = warnings();
    const double = await start({ buckets: ['one', 'two'] });
    const store = open(double);
    expect(await store.load(record().id)).toBeUndefined();
    expect(double.calls.PutObject).toBe(0);
    const made = record();
    await Promise.all([store.create(made), open(double).create(record(), [new Uint8Array(10)])]);
    await open(double).update(1, made);
    expect(probes(double)).toEqual(['PutObject', 'PutObject']);
    expect(double.calls.DeleteObjects).toBe(1);
    expect(double.objects().filter(({ key }) => !key.includes('/record/'))).toEqual([]);
    const firstWrite = double.log.find(({ operation }) => /^(Put|Create)/.test(operation));
    expect(firstWrite?.key).toContain('-probe-');
    await open(double, {}, 'two').create(record());
    expect(probes(double)).toHaveLength(4);
    expect(told()).toEqual([]);
  });

  test.each(['none', 'ignored'] as const)('%s: it is said once, and what that means', async (mode) => {
    const told = warnings();
    const double = await start({ conditionalWrites: mode });
    await open(double).create(record());
    await open(double).create(record());
    expect(told()).toHaveLength(1);
    expect(told()[0]).toContain(`the bucket ${double.bucket} `);
    expect(told()[0]).toContain('created once');
    expect(told()[0]).toContain('completed once');
    expect(double.objects().some(({ key }) => key.includes('-probe-'))).toBe(false);
  });

  test.each(['none', 'ignored'] as const)('%s: within one process all is as ever', async (mode) => {
    warnings();
    const double = await start({ conditionalWrites: mode });
    const stores = [open(double), open(double)];
    const made = record();
    const all = Array.from({ length: 20 }, (_, i) => stores[i % 2] as S3Store);
    const creates = await Promise.allSettled(all.map((store) => store.create(made)));
    expect(creates.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const create of creates)
      if (create.status === 'rejected') expect(create.reason).toMatchObject({ code: 'exists' });
    expect(double.uploads()).toHaveLength(1);
    const updates = await Promise.all(all.map((store, attempt) => store.update(1, { ...made, attempt })));
    expect(updates.filter((won) => won)).toHaveLength(1);
    const stored = await stores[0]?.load(made.id);
    expect(stored?.record.attempt).toBe(updates.indexOf(true));
    expect(stored?.version).toBe(2);
  });

  test('a probe that fails is an error, and the next write tries again', async () => {
    const told = warnings();
    const double = await start();
    const fault = double.faults.on('PutObject', { what: 'status', status: 503 });
    const store = open(double);
    await expect(store.create(record())).rejects.toMatchObject({ name: 'SlowDown' });
    expect(double.uploads()).toEqual([]);
    fault.remove();
    await store.create(record());
    expect(told()).toEqual([]);
  });

  test('a probe whose answer was lost is no bucket without conditional writes', async () => {
    const told = warnings();
    const double = await start();
    double.faults.on('PutObject', { what: 'reset', when: 'after', nth: [1, 2] });
    await open(double, { maxAttempts: 3 }).create(record());
    expect(told()).toEqual([]);
  });
});

describe('a bucket that cannot be used is one clear error before any write', () => {
  const expectUnusable = async (double: S3Double, store: S3Store, text: string): Promise<void> => {
    const made = record();
    const calls = [() => store.create(made), () => store.load(made.id), () => store.gc({ olderThanMs: 0 })];
    for (const call of calls) {
      const failure = await call().catch((error: unknown) => error as Error);
      expect(failure).toMatchObject({ code: 'store_failed', cause: expect.any(Error) });
      expect(String(failure)).toContain(text);
    }
    expect(double.calls.PutObject + double.calls.CreateMultipartUpload).toBe(0);
  };

  test.each(['malformed', 'redirect'] as const)('another region: %s', async (wrongRegion) => {
    const double = await start({ region: 'eu-west-1', wrongRegion });
    await expectUnusable(double, open(double, { region: 'us-east-1' }), 'another endpoint or region');
  });

  test('no such bucket', async () => {
    const double = await start();
    await expectUnusable(double, open(double, {}, 'nowhere'), 'there is no bucket nowhere');
  });

  test('wrong credentials', async () => {
    const double = await start();
    const credentials = { ...double.clientConfig.credentials, secretAccessKey: 'wrong' };
    await expectUnusable(double, open(double, { credentials }), 'the credentials are wrong');
  });

  test('nobody there', async () => {
    const double = await start();
    const store = open(double);
    await double.close();
    await expectUnusable(double, store, 'cannot be reached');
  });

  test('credentials that may only read', async () => {
    const double = await start();
    double.faults.on('PutObject', { what: 'status', status: 403 });
    const failure = await open(double)
      .create(record())
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'store_failed' });
    expect(String(failure)).toContain(`do not allow to use the bucket ${double.bucket}`);
    expect(double.uploads()).toEqual([]);
  });
});

describe('the command line', () => {
  const root = new URL('../..', import.meta.url).pathname;
  const environment = ({ endpoint, clientConfig }: S3Double): Record<string, string> => ({
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: clientConfig.region,
    AWS_ACCESS_KEY_ID: clientConfig.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: clientConfig.credentials.secretAccessKey,
  });
  const cli = (env: Record<string, string>, ...args: string[]) =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', 'src/cli.ts', ...args], {
      cwd: root,
      env: { ...process.env, ...env },
    }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );

  test('gc says what it would remove, and removes it', async () => {
    const double = await start();
    const client = new S3Client(double.clientConfig);
    cleanups.push(() => client.destroy());
    const store = s3Store({
      client,
      bucket: double.bucket,
      partSize: 4096,
      provider: { minPart: 1024 },
      prefix: 'p',
    });
    const id = record().id;
    await store.create({ ...record(), id });
    const first = double.objects()[0]?.key ?? '';
    await client.send(new DeleteObjectCommand({ Bucket: double.bucket, Key: first }));
    const env = environment(double);
    const args = ['gc', '--store', 's3', '--bucket', double.bucket, '--prefix', 'p'];
    const line = (count: number) =>
      `${count} multipart uploads, 0 fragments, 0 record versions, 0 contents, 0 markers: 0 bytes\n`;
    const expired = '0 expired uploads, 0 tombstones\n';
    expect((await cli(env, ...args)).stdout).toBe(`removed ${expired}removed ${line(0)}`);
    const dry = await cli(env, ...args, '--older-than-ms', '0', '--dry-run');
    expect(dry.stdout).toBe(`would remove ${expired}would remove ${line(1)}`);
    expect(double.uploads()).toHaveLength(1);
    const { stdout } = await cli(env, ...args, '--older-than-ms', '0');
    expect(stdout).toBe(`removed ${expired}removed ${line(1)}`);
    expect(double.uploads()).toEqual([]);
  });

  test.each([
    [['gc', '--store', 's3'], '--bucket is missing'],
    [['gc', '--store', 's3', '--bucket', 'b', '--older-than-ms', 'a day'], '--older-than-ms must be'],
  ])('%j is refused', async (args, text) => {
    const { code: status, stderr } = await cli({}, ...args);
    expect(stderr).toContain(text);
    expect(status).toBe(2);
  });

  test('without the SDK it names the package', async () => {
    // A loader stands in for a folder in which it is not installed.
    const hook = `export const resolve = (name, context, next) => {
      if (name !== '@aws-sdk/client-s3') return next(name, context);
      throw Object.assign(new Error("Cannot find package '@aws-sdk/client-s3'"), { code: 'ERR_MODULE_NOT_FOUND' });
    };`;
    const register = `import { register } from 'node:module';
      register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});`;
    const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(register)}`;
    const { code: status, stderr } = await cli({ NODE_OPTIONS }, 'gc', '--store', 's3', '--bucket', 'b');
    expect(stderr).toContain('npm install @aws-sdk/client-s3');
    expect(status).toBe(1);
  });

  test('serve keeps uploads in a bucket', async () => {
    const double = await start();
    for (const [name, value] of Object.entries(environment(double))) vi.stubEnv(name, value);
    const server = await startUploadServer(['--store', 's3', '--bucket', double.bucket]);
    try {
      const whole = content(300_000);
      const reply = await ask(server, { body: whole });
      expect(JSON.parse(String(reply.body))).toMatchObject({ size: whole.length, sha256: sha256(whole) });
      const file = await ask(server, { method: 'GET', target: String(reply.headers.location) });
      expect(sha256(file.body)).toBe(sha256(whole));
      expect(double.objects().some(({ key }) => key.startsWith('uploads/'))).toBe(true);
    } finally {
      server.kill('SIGTERM');
      await server.exited();
    }
  });
});
