// Tells how the S3 servers behave where a store depends on it, with the real SDK; fails when the ground is missing.
//
//     tsx test/s3-servers/run.ts -- tsx test/s3-servers/check.ts
import { createHash, randomBytes } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  type Part,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { type S3Target, s3Targets } from './targets.ts';

const MiB = 1024 * 1024;

/** The status of a request, whether it went well or not. */
const status = async (
  request: Promise<{ $metadata: { httpStatusCode?: number | undefined } }>,
): Promise<string> => {
  try {
    return String((await request).$metadata.httpStatusCode);
  } catch (error) {
    if (error instanceof S3ServiceException) return `${error.$metadata.httpStatusCode} ${error.name}`;
    // An answer that is no XML.
    const { $response } = error as { $response?: { statusCode: number } };
    if ($response !== undefined) return `${$response.statusCode}, not of S3`;
    throw error;
  }
};

const tally = (values: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].map(([value, count]) => `${count} × ${value}`).join(', ');
};

const must = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(what);
};

class Bench {
  readonly client: S3Client;
  readonly Bucket = `check-${randomBytes(6).toString('hex')}`;

  constructor({ endpoint, region, accessKeyId, secretAccessKey }: S3Target, secret = secretAccessKey) {
    this.client = new S3Client({
      endpoint,
      region,
      credentials: { accessKeyId, secretAccessKey: secret },
      forcePathStyle: true,
      maxAttempts: 1,
      requestHandler: { requestTimeout: 30_000, throwOnRequestTimeout: true },
    });
  }

  put(Key: string, Body: string, condition: { IfMatch?: string; IfNoneMatch?: string } = {}) {
    return this.client.send(new PutObjectCommand({ Bucket: this.Bucket, Key, Body, ...condition }));
  }

  async begin(Key: string): Promise<string> {
    const { UploadId } = await this.client.send(
      new CreateMultipartUploadCommand({ Bucket: this.Bucket, Key }),
    );
    return UploadId ?? '';
  }

  part(Key: string, UploadId: string, PartNumber: number, Body: Uint8Array) {
    return this.client.send(new UploadPartCommand({ Bucket: this.Bucket, Key, UploadId, PartNumber, Body }));
  }

  async parts(Key: string, UploadId: string): Promise<Part[]> {
    const list = await this.client.send(new ListPartsCommand({ Bucket: this.Bucket, Key, UploadId }));
    return list.Parts ?? [];
  }

  complete(Key: string, UploadId: string, parts: readonly Part[], IfNoneMatch?: string) {
    const Parts = parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
    const input = { Bucket: this.Bucket, Key, UploadId, MultipartUpload: { Parts } };
    return this.client.send(
      new CompleteMultipartUploadCommand(IfNoneMatch === undefined ? input : { ...input, IfNoneMatch }),
    );
  }

  abort(Key: string, UploadId: string) {
    return this.client.send(new AbortMultipartUploadCommand({ Bucket: this.Bucket, Key, UploadId }));
  }

  async read(Key: string, Range?: string): Promise<Buffer> {
    const input = { Bucket: this.Bucket, Key };
    const { Body } = await this.client.send(
      new GetObjectCommand(Range === undefined ? input : { ...input, Range }),
    );
    return Buffer.from((await Body?.transformToByteArray()) ?? []);
  }
}

type Check = readonly [name: string, run: (bench: Bench, target: S3Target) => Promise<string>];

/** Without these nothing can be tested against a server. */
const needed: readonly Check[] = [
  ['CreateBucket', (bench) => status(bench.client.send(new CreateBucketCommand({ Bucket: bench.Bucket })))],
  [
    'PutObject If-None-Match: * twice',
    async (bench) => {
      const first = await status(bench.put('once', 'first', { IfNoneMatch: '*' }));
      const second = await status(bench.put('once', 'second', { IfNoneMatch: '*' }));
      must(first === '200' && second.startsWith('412'), `answered ${first}, then ${second}`);
      must((await bench.read('once')).toString() === 'first', 'the second content was stored');
      return `${first}, then ${second}`;
    },
  ],
  [
    'multipart, 5 MiB + 1 byte',
    async (bench) => {
      const content = randomBytes(5 * MiB + 1);
      const upload = await bench.begin('film');
      await bench.part('film', upload, 1, content.subarray(0, 5 * MiB));
      await bench.part('film', upload, 2, content.subarray(5 * MiB));
      const parts = await bench.parts('film', upload);
      const sizes = parts.map((part) => part.Size).join(' + ');
      must(sizes === `${5 * MiB} + 1`, `ListParts tells ${sizes}`);
      await bench.complete('film', upload, parts);
      const range = await bench.read('film', `bytes=${5 * MiB - 10}-${5 * MiB}`);
      must(range.equals(content.subarray(5 * MiB - 10)), 'a range across the parts differs');
      const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
      must(sum(await bench.read('film')) === sum(content), 'the whole differs');
      return 'ListParts, Complete, Range and the whole are right';
    },
  ],
  [
    'ListObjectsV2',
    async (bench) => {
      const { Contents = [] } = await bench.client.send(new ListObjectsV2Command({ Bucket: bench.Bucket }));
      const names = Contents.map((object) => object.Key).join(', ');
      must(names === 'film, once', `lists ${names}`);
      return names;
    },
  ],
  [
    'abort',
    async (bench) => {
      const upload = await bench.begin('aborted');
      await bench.part('aborted', upload, 1, randomBytes(1000));
      const aborted = await status(bench.abort('aborted', upload));
      const again = await status(bench.abort('aborted', upload));
      const listed = await bench.client.send(new ListMultipartUploadsCommand({ Bucket: bench.Bucket }));
      must((listed.Uploads ?? []).length === 0, 'the upload is still listed');
      return `${aborted}; again: ${again}`;
    },
  ],
];

/** Where servers differ. */
const told: readonly Check[] = [
  [
    'PutObject If-Match',
    async (bench) => {
      const { ETag = '' } = await bench.put('matched', 'one');
      const right = await status(bench.put('matched', 'two', { IfMatch: ETag }));
      const stale = await status(bench.put('matched', 'three', { IfMatch: ETag }));
      const absent = await status(bench.put('absent', 'four', { IfMatch: ETag }));
      const content = (await bench.read('matched')).toString();
      return `current: ${right}; stale: ${stale}; no object: ${absent}; stored is "${content}"`;
    },
  ],
  [
    'If-None-Match: *, 20 at once, 5 times',
    async (bench) => {
      const outcomes: string[] = [];
      for (let round = 0; round < 5; round++) {
        const puts = Array.from({ length: 20 }, (_, n) =>
          status(bench.put(`raced-${round}`, String(n), { IfNoneMatch: '*' })),
        );
        outcomes.push(...(await Promise.all(puts)));
      }
      return tally(outcomes);
    },
  ],
  [
    'If-Match, 20 at once, 5 times',
    async (bench) => {
      const outcomes: string[] = [];
      for (let round = 0; round < 5; round++) {
        const { ETag = '' } = await bench.put('swapped', `before ${round}`);
        const puts = Array.from({ length: 20 }, (_, n) =>
          status(bench.put('swapped', `${round} ${n}`, { IfMatch: ETag })),
        );
        outcomes.push(...(await Promise.all(puts)));
      }
      return tally(outcomes);
    },
  ],
  [
    'ListParts right after UploadPart',
    async (bench) => {
      const upload = await bench.begin('listed');
      let missing = 0;
      for (let number = 1; number <= 50; number++) {
        const { ETag } = await bench.part('listed', upload, number, randomBytes(1000));
        const last = (await bench.parts('listed', upload)).at(-1);
        if (last?.PartNumber !== number || last.ETag !== ETag) missing++;
      }
      const { ETag } = await bench.part('listed', upload, 7, randomBytes(2000));
      const replaced = (await bench.parts('listed', upload))[6];
      const current = replaced?.ETag === ETag && replaced?.Size === 2000;
      await Promise.all(
        Array.from({ length: 50 }, (_, n) => bench.part('listed', upload, 51 + n, randomBytes(1000))),
      );
      const all = (await bench.parts('listed', upload)).length;
      await bench.abort('listed', upload);
      return `${missing} of 50 missing; a replaced part is ${current ? 'current' : 'stale'}; after 50 at once ${all} of 100`;
    },
  ],
  [
    'Complete If-None-Match: *, object there',
    async (bench) => {
      const upload = await bench.begin('once');
      await bench.part('once', upload, 1, randomBytes(10));
      const answer = await status(bench.complete('once', upload, await bench.parts('once', upload), '*'));
      const left = await status(bench.abort('once', upload));
      return `${answer}; abort then: ${left}`;
    },
  ],
  [
    'Complete twice',
    async (bench) => {
      const upload = await bench.begin('twice');
      await bench.part('twice', upload, 1, randomBytes(10));
      const parts = await bench.parts('twice', upload);
      const first = await status(bench.complete('twice', upload, parts));
      return `${first}, then ${await status(bench.complete('twice', upload, parts))}`;
    },
  ],
  [
    'Complete with a part below 5 MiB first',
    async (bench) => {
      const upload = await bench.begin('small');
      for (const number of [1, 2]) await bench.part('small', upload, number, randomBytes(1000));
      return status(bench.complete('small', upload, await bench.parts('small', upload)));
    },
  ],
  [
    'Complete with a subset of the parts',
    async (bench) => {
      const upload = await bench.begin('subset');
      for (const number of [1, 2]) await bench.part('subset', upload, number, randomBytes(1000));
      const answer = await status(
        bench.complete('subset', upload, (await bench.parts('subset', upload)).slice(0, 1)),
      );
      return answer;
    },
  ],
  [
    'UploadPart after abort',
    async (bench) => {
      const upload = await bench.begin('late');
      await bench.abort('late', upload);
      return status(bench.part('late', upload, 1, randomBytes(10)));
    },
  ],
  [
    'a wrong secret',
    async (bench, target) => {
      const stranger = new Bench(target, 'wrong');
      return status(
        stranger.client.send(new PutObjectCommand({ Bucket: bench.Bucket, Key: 'stranger', Body: 'x' })),
      );
    },
  ],
];

let failed = 0;
for (const target of s3Targets()) {
  const bench = new Bench(target);
  for (const [checks, isNeeded] of [
    [needed, true],
    [told, false],
  ] as const) {
    for (const [name, run] of checks) {
      const began = performance.now();
      try {
        const outcome = await run(bench, target);
        console.log(`${target.name}: ${name}: ${outcome} (${(performance.now() - began).toFixed(0)} ms)`);
      } catch (error) {
        if (isNeeded) failed++;
        console.log(`${target.name}: ${name}: ${isNeeded ? 'FAILED' : 'error'}: ${String(error)}`);
      }
    }
  }
  bench.client.destroy();
}
if (s3Targets().length === 0) console.log('no server to check');
process.exitCode = failed === 0 ? 0 : 1;
