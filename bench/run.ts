import { parseArgs } from 'node:util';
import { type Benchmark, type BenchOptions, UsageError } from './lib/options.ts';

// Each is loaded only when it is asked for: one that can't load must not stop the others.
const benchmarks: Record<string, () => Promise<Benchmark>> = {
  upload: () => import('./upload.ts'),
  stores: () => import('./stores.ts'),
  s3: () => import('./s3.ts'),
  interruption: () => import('./interruption.ts'),
  steady: () => import('./steady.ts'),
  download: () => import('./download.ts'),
  client: () => import('./client.ts'),
};

const usage = `usage: npm run bench -- [NAME...] [--quick] [--json] [--trials N] [--size MiB] [--variants a,b]
                                      [--part a,b] [--duration SECONDS]
benchmarks: ${Object.keys(benchmarks).join(', ')} (all, when none is named)`;

const positive = (flag: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new UsageError(`--${flag} wants a positive integer`);
  return value;
};

const parseCommandLine = (args: string[]) => {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        trials: { type: 'string' },
        size: { type: 'string' },
        variants: { type: 'string' },
        part: { type: 'string' },
        duration: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
};

const main = async (args: string[]): Promise<void> => {
  const { values, positionals } = parseCommandLine(args);
  if (values.help) {
    console.log(usage);
    return;
  }
  const names = positionals.length > 0 ? positionals : Object.keys(benchmarks);
  const unknown = names.filter((name) => !Object.hasOwn(benchmarks, name));
  if (unknown.length > 0) throw new UsageError(`no such benchmark: ${unknown.join(', ')}`);
  const trials = positive('trials', values.trials);
  const sizeMiB = positive('size', values.size);
  const durationSeconds = positive('duration', values.duration);
  const options: BenchOptions = {
    quick: values.quick,
    json: values.json,
    ...(trials !== undefined && { trials }),
    ...(sizeMiB !== undefined && { sizeMiB }),
    ...(values.variants !== undefined && { variants: values.variants.split(',') }),
    ...(values.part !== undefined && { parts: values.part.split(',') }),
    ...(durationSeconds !== undefined && { durationSeconds }),
    command: ['npm run bench --', ...args].join(' '),
  };
  for (const name of names) {
    const benchmark = await benchmarks[name]!();
    await benchmark.run(options);
    if (!options.json) continue;
    const { drawChart } = await import('./draw.ts');
    const picture = await drawChart(name);
    if (picture !== undefined) console.log(`chart: ${picture}`);
  }
};

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n${usage}`);
    process.exitCode = 2;
  } else {
    console.error(error);
    process.exitCode = 1;
  }
}
