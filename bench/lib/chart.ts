/** One figure with its spread, drawn as a bar with a whisker. Without a spread there is no whisker. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
  /** Drawn in the colour that stands out. */
  readonly isOurs: boolean;
}

/** Bars that share a scale. */
export interface BarGroup {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly Bar[];
}

export interface Chart {
  readonly title: string;
  /** What a reader has to know who can't see it. */
  readonly description: string;
  readonly groups: readonly BarGroup[];
}

const width = 760;
const margin = 16;
const labelWidth = 250;
const plotLeft = margin + labelWidth + 8;
const plotWidth = 350;
const titleHeight = 40;
const groupHeight = 30;
const rowHeight = 22;
const barHeight = 14;
const groupGap = 10;

const style = `
    text { font: 12px system-ui, sans-serif; fill: #1f2328; }
    .title { font-size: 15px; font-weight: 600; }
    .group { font-weight: 600; }
    .unit { fill: #59636e; font-weight: 400; }
    .ours { fill: #0969da; }
    .other { fill: #b1bac4; }
    .whisker { stroke: #1f2328; fill: none; }
    .axis { stroke: #d1d9e0; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .unit { fill: #9198a1; }
      .ours { fill: #4493f8; }
      .other { fill: #565e67; }
      .whisker { stroke: #e6edf3; }
      .axis { stroke: #3d444d; }
    }`;

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Coordinates to a tenth of a pixel: a chart whose figures stay the same stays the same. */
const px = (value: number): string => String(Math.round(value * 10) / 10);

const figure = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : value >= 100
      ? value.toFixed(0)
      : value.toPrecision(3);

const text = (x: number, y: number, content: string, attributes = ''): string =>
  `  <text x="${px(x)}" y="${px(y)}"${attributes}>${content}</text>`;

const whisker = ({ low, high }: Bar, y: number, scale: number): string[] => {
  if (low === undefined || high === undefined || low === high) return [];
  const [left, right] = [plotLeft + low * scale, plotLeft + high * scale];
  const middle = y + barHeight / 2;
  const cap = (x: number): string => `M${px(x)} ${px(middle - 4)}v8`;
  return [`  <path class="whisker" d="${cap(left)}${cap(right)}M${px(left)} ${px(middle)}H${px(right)}"/>`];
};

const barRow = (bar: Bar, y: number, scale: number, unit: string): string[] => {
  const { label, value, low, high, isOurs } = bar;
  const spread = low === undefined || high === undefined ? '' : ` (${figure(low)}–${figure(high)})`;
  const baseline = y + barHeight - 3;
  const end = plotLeft + Math.max(value, high ?? value) * scale;
  return [
    `  <rect class="${isOurs ? 'ours' : 'other'}" x="${plotLeft}" y="${px(y)}" width="${px(value * scale)}" height="${barHeight}">`,
    `    <title>${escaped(`${label}: ${figure(value)} ${unit}${spread}`)}</title>`,
    '  </rect>',
    ...whisker(bar, y, scale),
    text(plotLeft - 8, baseline, escaped(label), ' text-anchor="end"'),
    text(end + 8, baseline, figure(value)),
  ];
};

/** Only what was measured: no bar stands for a figure that is not there. */
const measured = ({ bars }: BarGroup): Bar[] => bars.filter(({ value }) => Number.isFinite(value));

const groupRows = (group: BarGroup, top: number): { readonly lines: string[]; readonly bottom: number } => {
  const bars = measured(group);
  const most = Math.max(...bars.map(({ value, high }) => Math.max(value, high ?? value)));
  const scale = most > 0 ? plotWidth / most : 0;
  const first = top + groupHeight;
  const bottom = first + bars.length * rowHeight;
  const unit = `<tspan class="unit"> ${escaped(group.unit)}</tspan>`;
  return {
    lines: [
      text(margin, top + 20, `${escaped(group.title)}${unit}`, ' class="group"'),
      `  <path class="axis" d="M${plotLeft} ${px(first - 3)}V${px(bottom)}"/>`,
      ...bars.flatMap((bar, row) => barRow(bar, first + row * rowHeight, scale, group.unit)),
    ],
    bottom: bottom + groupGap,
  };
};

/** A bar chart as an SVG document that follows its reader's choice of light or dark. */
export const chartSvg = ({ title, description, groups }: Chart): string => {
  const lines: string[] = [];
  let y = titleHeight;
  for (const group of groups) {
    if (measured(group).length === 0) continue;
    const { lines: rows, bottom } = groupRows(group, y);
    lines.push(...rows);
    y = bottom;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" role="img" aria-labelledby="title desc">`,
    `  <title id="title">${escaped(title)}</title>`,
    `  <desc id="desc">${escaped(description)}</desc>`,
    `  <style>${style}\n  </style>`,
    text(margin, 26, escaped(title), ' class="title"'),
    ...lines,
    '</svg>',
    '',
  ].join('\n');
};
