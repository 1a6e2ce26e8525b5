import { Child } from './lib/child.ts';
import { times } from './lib/format.ts';
import { describeMachine, machineLines } from './lib/machine.ts';
import type { BenchOptions } from './lib/options.ts';
import { primePageCache } from './lib/prime.ts';
import { writeResults } from './lib/results.ts';
import { settle, withScratch } from './lib/scratch.ts';
import { max, median, min } from './lib/stats.ts';
import { markdownTable } from './lib/table.ts';
import { chosenVariants } from './lib/variants.ts';

// What does the library's client cost beside the least that can be done: the same bytes, written to sockets that know
// where they go, to the same server?

const MiB = 2 ** 20;
const warmUpBytes = 8 * MiB;
const primeSlackBytes = 512 * MiB;
const startTimeoutMs = 20_000;
const uploadTimeoutMs = 600_000;
/** The share of the bare sockets' speed that the client is to reach. */
const wantedShare = 0.85;

interface Variant {
  readonly key: string;
  readonly name: string;
  readonly bare: boolean;
  readonly fromFile: boolean;
  readonly connections: number;
}

const variants: readonly Variant[] = [1, 4].flatMap((connections) => {
  const many = connections === 1 ? '1 connection' : `${connections} connections`;
  return [
    { key: `socket-${connections}`, name: `bare sockets, ${many}`, bare: true, fromFile: false, connections },
    {
      key: `memory-${connections}`,
      name: `upload(Buffer), ${many}`,
      bare: false,
      fromFile: false,
      connections,
    },
    { key: `file-${connections}`, name: `upload(path), ${many}`, bare: false, fromFile: true, connections },
  ];
});

interface Trial {
  readonly variant: string;
  readonly trial: number;
  readonly elapsedMs: number;
  /** The client's own. */
  readonly cpuSeconds: number;
}

interface Uploaded {
  readonly elapsedMs: number;
  readonly cpuSeconds: number;
  readonly status: number;
  readonly body: string;
}

const upload = async (client: Child, variant: Variant, port: number, size: number): Promise<Uploaded> => {
  const { bare, fromFile, connections } = variant;
  const message = { upload: { port, size, bare, fromFile, connections } };
  const answer = (await client.ask(message, uploadTimeoutMs)) as { uploaded?: Uploaded; failed?: string };
  if (answer.uploaded === undefined) throw new Error(`${variant.name}: ${answer.failed}`);
  const { status, body } = answer.uploaded;
  if (status !== 200 || body !== String(size)) {
    throw new Error(`${variant.name}: expected 200 and "${size}", got ${status} and ${JSON.stringify(body)}`);
  }
  return answer.uploaded;
};

const measure = async (variant: Variant, directory: string, size: number): Promise<Uploaded> => {
  const server = new Child(new URL('./servers/ours.js', import.meta.url), [directory, 'process']);
  try {
    const port = await server.port(startTimeoutMs);
    const client = new Child(new URL('./servers/uploading-client.js', import.meta.url), [directory]);
    try {
      await upload(client, variant, port, warmUpBytes);
      await client.ask({ prepare: { size, fromFile: variant.fromFile } }, uploadTimeoutMs);
      await primePageCache(directory, size + primeSlackBytes);
      return await upload(client, variant, port, size);
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
};

const report = (trials: readonly Trial[], chosen: readonly Variant[], sizeMiB: number): string => {
  const speeds = (key: string): number[] =>
    trials.filter(({ variant }) => variant === key).map(({ elapsedMs }) => (sizeMiB / elapsedMs) * 1000);
  const rows = chosen.map(({ key, name, connections }) => {
    const own = speeds(key);
    const cpu = median(trials.filter(({ variant }) => variant === key).map(({ cpuSeconds }) => cpuSeconds));
    const share = median(own) / median(speeds(`socket-${connections}`));
    return [
      name,
      median(own).toFixed(0),
      `${min(own).toFixed(0)}–${max(own).toFixed(0)}`,
      ((cpu * 1024) / sizeMiB).toFixed(2),
      Number.isNaN(share) ? '' : times(share),
    ];
  });
  return markdownTable(['client', 'MiB/s', 'spread', 'its CPU s/GiB', '/ bare sockets'], rows);
};

export const run = async (options: BenchOptions): Promise<void> => {
  const chosen = chosenVariants(variants, options.variants);
  const trialCount = options.trials ?? (options.quick ? 2 : 5);
  const sizeMiB = options.sizeMiB ?? (options.quick ? 256 : 1024);
  const trials: Trial[] = [];
  const date = new Date().toISOString();
  await settle();
  for (let trial = 1; trial <= trialCount; trial++) {
    for (const variant of chosen) {
      process.stderr.write(`client: trial ${trial}/${trialCount}, ${variant.name}\n`);
      const { elapsedMs, cpuSeconds } = await withScratch((directory) =>
        measure(variant, directory, sizeMiB * MiB),
      );
      trials.push({ variant: variant.key, trial, elapsedMs, cpuSeconds });
    }
  }
  console.log(
    `One upload of ${sizeMiB} MiB over loopback to this library's server (fs, 'process'); medians of ${trialCount} ` +
      `trials, all variants interleaved. The aim is ${times(wantedShare)} of bare sockets.\n`,
  );
  console.log(report(trials, chosen, sizeMiB));
  const machine = describeMachine();
  console.log(`\n${machineLines(machine).join('  \n')}  \n${date.slice(0, 10)}, \`${options.command}\``);
  if (!options.json) return;
  const conditions = { machine, date, command: options.command, sizeMiB, trials: trialCount };
  console.log(`\nraw trials: ${await writeResults('client', { ...conditions, raw: trials })}`);
};
