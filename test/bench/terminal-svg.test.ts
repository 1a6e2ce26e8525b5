import { describe, expect, test } from 'vitest';
import { type Frame, recordingSvg } from '../../bench/lib/terminal-svg.ts';

const svgOf = (frames: readonly Frame[]): string =>
  recordingSvg({
    title: 'a & b',
    description: 'what it shows',
    panes: [
      { title: 'one', rows: 3 },
      { title: 'two', rows: 3 },
    ],
    columns: 40,
    frames,
    restMs: 1_000,
  });

/** Of the one element with that text. */
const textOf = (svg: string, text: string): string => {
  const found = svg.split('\n').filter((line) => line.includes(`>${text}<`));
  expect(found).toHaveLength(1);
  return found[0] ?? '';
};

describe('a recording of terminals', () => {
  test('shows what stays from one frame to the next as one text, which never moves', () => {
    const svg = svgOf([
      { at: 0, panes: [['$ run'], []] },
      { at: 500, panes: [['$ run', 'half'], ['other']] },
      { at: 1_000, panes: [['$ run', 'whole'], ['other']] },
    ]);
    expect(textOf(svg, '$\u00a0run')).not.toContain('<animate');
    expect(textOf(svg, '$\u00a0run')).toContain('class="typed"');
    expect(textOf(svg, 'half')).toContain('values="hidden;visible;hidden" keyTimes="0.0000;0.2500;0.5000"');
    expect(textOf(svg, 'whole')).toContain('dur="2000ms"');
    expect(textOf(svg, 'other')).toContain('values="hidden;visible" keyTimes="0.0000;0.2500"');
  });

  test('what comes back is the same text, twice', () => {
    const svg = svgOf([
      { at: 0, panes: [['here'], []] },
      { at: 500, panes: [[], []] },
      { at: 1_000, panes: [['here'], []] },
    ]);
    expect(textOf(svg, 'here')).toContain('values="visible;hidden;visible" keyTimes="0.0000;0.2500;0.5000"');
  });

  test('where nothing moves the end is seen', () => {
    const svg = svgOf([
      { at: 0, panes: [['first'], []] },
      { at: 500, panes: [['last'], []] },
    ]);
    expect(textOf(svg, 'first')).toContain('visibility="hidden"');
    expect(textOf(svg, 'last').split('<animate')[0]).not.toContain('visibility');
  });

  test('says what it is to who cannot see it, and escapes what a terminal shows', () => {
    const svg = svgOf([{ at: 0, panes: [['<b> & "c"'], []] }]);
    expect(svg).toContain('<title>a &#38; b</title>');
    expect(svg).toContain('<desc>what it shows</desc>');
    expect(svg).toContain('&#60;b&#62;\u00a0&#38;\u00a0&#34;c&#34;');
  });
});
