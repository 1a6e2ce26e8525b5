// Records what README shows: two terminals, by tmux, in which an upload is cut off and goes on, and a download.
//
//     npm run recording [-- recording] [recording-download]
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { writePicture } from './lib/results.ts';
import { type Frame, recordingSvg } from './lib/terminal-svg.ts';

const execute = promisify(execFile);

const columns = 100;
const panes = [
  { title: 'server', rows: 9 },
  { title: 'client', rows: 8 },
] as const;
/** Long enough to be cut off, and twice. */
const fileBytes = 3 * 2 ** 30;
const frameMs = 150;
const lookMs = 40;
const keyMs = 45;
const patienceMs = 60_000;
const restMs = 4_000;

const program = fileURLToPath(new URL('../dist/src/cli.js', import.meta.url));

/** Two shells in which nothing is but the program, each as large as its pane. */
class Stage {
  readonly #socket: string;
  readonly #folder: string;
  readonly frames: Frame[] = [];
  #startedAt = 0;
  #filming: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(folder: string) {
    this.#folder = folder;
    this.#socket = join(folder, 'tmux');
  }

  async open(): Promise<void> {
    const bin = join(this.#folder, 'bin');
    await mkdir(bin);
    await writeFile(join(bin, 'resumable-http'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
    await chmod(join(bin, 'resumable-http'), 0o755);
    const shell = `env -i PATH='${bin}':/usr/bin:/bin HOME='${this.#folder}' TERM=screen PS1='$ ' bash --norc --noprofile`;
    for (const [i, { rows }] of panes.entries()) {
      const size = ['-x', String(columns), '-y', String(rows)];
      await this.#tmux(
        '-f',
        '/dev/null',
        'new-session',
        '-d',
        '-s',
        `pane${i}`,
        '-c',
        this.#folder,
        ...size,
        shell,
      );
      await this.#tmux('set-option', '-t', `pane${i}`, 'status', 'off');
    }
    await this.until(1, /\$/);
    this.#startedAt = performance.now();
    this.#filming = this.#film();
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#filming;
    await this.#tmux('kill-server');
  }

  async type(pane: number, text: string): Promise<void> {
    for (const char of text) {
      await this.#tmux('send-keys', '-t', `pane${pane}`, '-l', char);
      await sleep(keyMs);
    }
    await this.press(pane, 'Enter');
  }

  async press(pane: number, key: string): Promise<void> {
    await this.#tmux('send-keys', '-t', `pane${pane}`, key);
  }

  /** Resolves when the pane shows it; a reader needs a moment too. */
  async until(pane: number, pattern: RegExp, thenMs = 0): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!pattern.test(await this.text(pane))) {
      if (performance.now() > deadline)
        throw new Error(`the ${panes[pane]?.title} never showed ${pattern}, but:\n${await this.text(pane)}`);
      await sleep(lookMs);
    }
    await sleep(thenMs);
  }

  async text(pane: number): Promise<string> {
    return (await this.#shown(pane)).join('\n');
  }

  async #film(): Promise<void> {
    let before = '';
    while (!this.#isOver) {
      const at = Math.round(performance.now() - this.#startedAt);
      const shown = await Promise.all(panes.map((_, i) => this.#shown(i)));
      const now = JSON.stringify(shown);
      if (now !== before) this.frames.push({ at: this.frames.length === 0 ? 0 : at, panes: shown });
      before = now;
      await sleep(frameMs);
    }
  }

  async #shown(pane: number): Promise<string[]> {
    const text = await this.#tmux('capture-pane', '-p', '-t', `pane${pane}`);
    // The name of a scratch folder says nothing.
    return text.replaceAll(this.#folder, '~').replace(/\n$/, '').split('\n');
  }

  async #tmux(...args: string[]): Promise<string> {
    return (await execute('tmux', ['-S', this.#socket, ...args])).stdout;
  }
}

const [server, client] = [0, 1];

interface Scene {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  play(stage: Stage): Promise<void>;
}

/** Stops what the client does, and has it go on. */
const interrupt = async (stage: Stage): Promise<void> => {
  await stage.press(client, 'C-c');
  await stage.until(client, /^\$$/m, 2_000);
  await stage.press(client, 'Up');
  await sleep(500);
  await stage.press(client, 'Enter');
};

const scenes: readonly Scene[] = [
  {
    name: 'recording',
    title: 'An upload that is cut off twice, and goes on',
    description:
      'Two terminals. While a client uploads a file, its server is stopped and started again, and the upload goes on. Then the client is stopped; the same command again goes on where it was.',
    async play(stage) {
      await stage.type(server, 'resumable-http serve');
      await stage.until(server, /listening on/, 1_000);
      await stage.type(client, 'resumable-http upload film.mp4 http://127.0.0.1:8080/upload');
      await stage.until(client, /[2-5]\d%/);
      await stage.press(server, 'C-c');
      await stage.until(client, /reconnecting|no news|no answer/, 1_500);
      await stage.type(server, 'resumable-http serve');
      await stage.until(client, /[4-8]\d%/);
      await interrupt(stage);
      await stage.until(client, /201 http/, 1_500);
    },
  },
  {
    name: 'recording-download',
    title: 'A download that is cut off, and goes on',
    description:
      'Two terminals. A client downloads a file from the server in the other, is stopped, and the same command again goes on where it was.',
    async play(stage) {
      await stage.type(server, 'resumable-http serve --port 8081');
      await stage.until(server, /listening on/, 500);
      await stage.type(client, 'resumable-http upload film.mp4 http://127.0.0.1:8081/upload');
      await stage.until(client, /201 http/, 1_500);
      const [url = ''] = /http:\S+\/files\/\S+/.exec(await stage.text(client)) ?? [];
      await stage.type(client, 'clear');
      await stage.type(client, `resumable-http download ${url} copy.mp4`);
      await stage.until(client, /[2-7]\d%/);
      await interrupt(stage);
      await stage.until(client, /^\$$/m);
      await stage.until(client, /copy\.mp4\n\$$/m, 1_500);
      await stage.type(client, 'cmp film.mp4 copy.mp4 && echo the same');
      await stage.until(client, /^the same/m, 1_500);
    },
  },
];

const record = async ({ name, title, description, play }: Scene, folder: string): Promise<void> => {
  const film = await open(join(folder, 'film.mp4'), 'w');
  await film.truncate(fileBytes);
  await film.close();
  const stage = new Stage(folder);
  await stage.open();
  try {
    await play(stage);
  } finally {
    await stage.close();
  }
  const svg = recordingSvg({ title, description, panes, columns, frames: stage.frames, restMs });
  console.log(await writePicture(name, svg));
};

const wanted = process.argv.slice(2);
for (const scene of scenes.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const folder = await mkdtemp(join(tmpdir(), 'recording-'));
  try {
    await record(scene, folder);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  }
}
