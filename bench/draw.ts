import { charts, type Recorded } from './charts.ts';
import { type Chart, chartSvg } from './lib/chart.ts';
import { readResults, writePicture } from './lib/results.ts';

const isRecorded = (name: string): name is keyof Recorded => Object.hasOwn(charts, name);

const chartOf = async <Name extends keyof Recorded>(name: Name): Promise<Chart | undefined> => {
  const results = await readResults<Recorded[Name]>(name);
  return results && charts[name](results);
};

/**
 * Draws what a benchmark has recorded into `bench/results/NAME.svg`; resolves with its path, or undefined when there is
 * nothing to draw.
 */
export const drawChart = async (name: string): Promise<string | undefined> => {
  const chart = isRecorded(name) ? await chartOf(name) : undefined;
  return chart && writePicture(name, chartSvg(chart));
};
