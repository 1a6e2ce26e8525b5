// What terminals showed, as one picture that moves by itself: each text is there for as long as it was on the screen.

/** What the screens of all panes showed at a time: a list of lines for each. */
export interface Frame {
  /** Milliseconds since the first. */
  readonly at: number;
  readonly panes: readonly (readonly string[])[];
}

export interface Recording {
  readonly title: string;
  /** What a reader has to know who can't see it. */
  readonly description: string;
  readonly panes: readonly { readonly title: string; readonly rows: number }[];
  readonly columns: number;
  readonly frames: readonly Frame[];
  /** How long the last frame stays until the first comes again. */
  readonly restMs: number;
}

const charWidth = 8;
const lineHeight = 17;
const barHeight = 26;
const padding = 10;
const gap = 10;

const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => `&#${char.codePointAt(0)};`);
/** Every space counts. */
const spaced = (text: string): string => escaped(text).replaceAll(' ', '\u00a0');

/** One text in one row of one pane, and when it was there: `[from, to)` in milliseconds. */
interface Stay {
  readonly pane: number;
  readonly row: number;
  readonly text: string;
  readonly spans: { readonly from: number; to: number }[];
}

/** What stays from one frame to the next is one stay. */
const staysOf = (frames: readonly Frame[], end: number): Stay[] => {
  const stays = new Map<string, Stay>();
  frames.forEach(({ at, panes }, i) => {
    const until = frames[i + 1]?.at ?? end;
    panes.forEach((lines, pane) => {
      lines.forEach((line, row) => {
        const text = line.trimEnd();
        if (text === '') return;
        const key = `${pane}/${row}/${text}`;
        const stay = stays.get(key) ?? { pane, row, text, spans: [] };
        stays.set(key, stay);
        const last = stay.spans.at(-1);
        if (last?.to === at) last.to = until;
        else stay.spans.push({ from: at, to: until });
      });
    });
  });
  return [...stays.values()];
};

/** Who shows no animation sees the end. */
const visibility = ({ spans }: Stay, end: number): { readonly still: string; readonly motion: string } => {
  const still = spans.at(-1)?.to === end ? '' : ' visibility="hidden"';
  const steps: [number, string][] = spans[0]?.from === 0 ? [] : [[0, 'hidden']];
  for (const { from, to } of spans) {
    steps.push([from, 'visible']);
    if (to < end) steps.push([to, 'hidden']);
  }
  if (steps.length === 1) return { still, motion: '' };
  const values = steps.map(([, value]) => value).join(';');
  const keyTimes = steps.map(([at]) => (at / end).toFixed(4)).join(';');
  const motion =
    `<animate attributeName="visibility" calcMode="discrete" dur="${end}ms" repeatCount="indefinite" ` +
    `values="${values}" keyTimes="${keyTimes}"/>`;
  return { still, motion };
};

/** The picture. The same recording is the same text. */
export const recordingSvg = ({ title, description, panes, columns, frames, restMs }: Recording): string => {
  const end = (frames.at(-1)?.at ?? 0) + restMs;
  const width = Math.ceil(columns * charWidth + 2 * padding);
  const tops: number[] = [];
  let height = 0;
  for (const { rows } of panes) {
    tops.push(height);
    height += barHeight + rows * lineHeight + padding + gap;
  }
  height -= gap;
  const frame = panes.map(({ title: name, rows }, i) => {
    const top = tops[i] ?? 0;
    return (
      `  <rect class="pane" x="0.5" y="${top + 0.5}" width="${width - 1}" height="${barHeight + rows * lineHeight + padding - 1}" rx="6"/>\n` +
      `  <text class="name" x="${padding}" y="${top + 17}">${spaced(name)}</text>`
    );
  });
  const texts = staysOf(frames, end).map((stay) => {
    const y = (tops[stay.pane] ?? 0) + barHeight + (stay.row + 0.8) * lineHeight;
    const { still, motion } = visibility(stay, end);
    const kind = stay.text.startsWith('$ ') ? ' class="typed"' : '';
    return `  <text${kind} x="${padding}" y="${y.toFixed(1)}"${still}>${spaced(stay.text)}${motion}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">
  <title>${escaped(title)}</title>
  <desc>${escaped(description)}</desc>
  <style>
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d6dbe1; }
    .pane { fill: #161b22; stroke: #3d444d; }
    .name { fill: #9198a1; font-size: 12px; }
    .typed { fill: #7ee787; }
  </style>
${[...frame, ...texts].join('\n')}
</svg>
`;
};
