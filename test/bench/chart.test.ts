import { describe, expect, test } from 'vitest';
import { type Chart, chartSvg } from '../../bench/lib/chart.ts';

const bar = (label: string, value: number, low: number, high: number) => ({
  label,
  value,
  low,
  high,
  isOurs: label.startsWith('ours'),
});

const chart: Chart = {
  title: 'Speed of <servers> & others',
  description: 'Who is "fast"',
  groups: [
    { title: 'small', unit: 'requests/s', bars: [bar('theirs', 50, 40, 60), bar('ours', 200, 150, 400)] },
    { title: 'large', unit: 'MiB/s', bars: [bar('ours', 2, 2, 2), bar('never measured', Number.NaN, 0, 0)] },
  ],
};

const svg = chartSvg(chart);

/** Of every bar, in order. */
const widths = (text: string): number[] =>
  [...text.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map(([, width]) => Number(width));

describe('a bar chart', () => {
  test('has bars in proportion to their figures, on a scale of its own for each group', () => {
    const [theirs = 0, ours = 0, large = 0, ...more] = widths(svg);
    expect(more).toEqual([]); // none for a figure that is not there
    expect(ours / theirs).toBeCloseTo(4, 1);
    expect(large).toBeCloseTo(2 * ours, 0); // 200 of the 400 that the whisker reaches, 2 of 2
  });

  test('has a whisker from the lowest to the highest figure, and none where they are one', () => {
    const whiskers = [...svg.matchAll(/class="whisker" d="M([\d.]+) .*M[\d.]+ [\d.]+H([\d.]+)"/g)];
    expect(whiskers).toHaveLength(2);
    const [left, right] = [Number(whiskers[1]?.[1]), Number(whiskers[1]?.[2])];
    const [, ours = 0] = widths(svg);
    expect((right - left) / ours).toBeCloseTo((400 - 150) / 200, 1);
  });

  test('is told by title and description to who cannot see it, and follows light and dark', () => {
    expect(svg).toContain('role="img" aria-labelledby="title desc"');
    expect(svg).toContain('<title id="title">Speed of &#60;servers&#62; &#38; others</title>');
    expect(svg).toContain('<desc id="desc">Who is &#34;fast&#34;</desc>');
    expect(svg).toContain('@media (prefers-color-scheme: dark)');
  });

  test('is the same text for the same figures', () => {
    expect(chartSvg(chart)).toBe(svg);
  });
});
