import { writeFile } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { file, inBrowser, MiB, start, sumOf } from './support/stage.ts';
import type { Visit } from './support/visit.ts';

/** As a page is that comes over http from another machine. */
const withoutLocks = async ({ page }: Visit): Promise<void> => {
  await page.addInitScript(`
    Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });
    Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined });
  `);
  await page.reload();
};

describe('over plain http, where the browser keeps nothing', () => {
  inBrowser('it says so, and an upload goes on when its file is chosen again', async () => {
    const { server, visit } = await start();
    await withoutLocks(visit);
    expect(await visit.page.locator('#unkept').isVisible()).toBe(true);
    const film = await file('plain.mp4', 12 * MiB);
    await visit.limit(4 * MiB);
    await visit.choose(film.path);
    await visit.pass('plain.mp4', 40);
    await server.kill();
    await visit.reach('plain.mp4', 'away');
    await server.restart();
    await visit.page.reload();
    await visit.reach('plain.mp4', 'lacking');
    await visit.again('plain.mp4', film.path);
    await visit.reach('plain.mp4', 'sending');
    await visit.row('plain.mp4').getByText('picked up at').waitFor();
    await visit.limit(0);
    await visit.reach('plain.mp4', 'done');
    expect(await sumOf(await visit.link('plain.mp4'))).toBe(film.sum);
    await visit.page.reload();
    await visit.reach('plain.mp4', 'done');
    expect(await sumOf(await visit.link('plain.mp4'))).toBe(film.sum);
  });

  inBrowser('files are paused, resumed and cancelled, two at a time', async () => {
    const { visit } = await start();
    await withoutLocks(visit);
    const files = await Promise.all([1, 2, 3].map((seed) => file(`plain-${seed}.bin`, 4 * MiB, seed)));
    const paths = files.map(({ path }) => path);
    await visit.limit(MiB);
    await visit.choose(...paths, ...paths);
    await visit.pass('plain-1.bin', 5);
    expect(await visit.page.locator('.row').count()).toBe(3);
    await visit.reach('plain-3.bin', 'queued');
    await visit.button('Pause plain-1.bin').click();
    await visit.reach('plain-1.bin', 'paused');
    await visit.reach('plain-3.bin', 'sending');
    const told = visit.page.waitForResponse((response) => response.request().method() === 'DELETE');
    await visit.button('Cancel plain-2.bin').click();
    expect((await told).status()).toBeLessThan(300);
    await visit.button('Resume plain-1.bin').click();
    await visit.limit(0);
    for (const at of [0, 2]) {
      await visit.reach(`plain-${at + 1}.bin`, 'done');
      expect(await sumOf(await visit.link(`plain-${at + 1}.bin`))).toBe(files[at]?.sum);
    }
    expect(await visit.page.locator('.row').count()).toBe(2);
  });

  inBrowser('a file that was changed meanwhile is no server that is away', async () => {
    const { visit } = await start();
    await withoutLocks(visit);
    const film = await file('changed.mp4', 4 * MiB);
    await visit.limit(MiB);
    await visit.choose(film.path);
    await visit.pass('changed.mp4', 10);
    await visit.button('Pause changed.mp4').click();
    await visit.reach('changed.mp4', 'paused');
    await writeFile(film.path, 'another');
    await visit.button('Resume changed.mp4').click();
    await visit.reach('changed.mp4', 'lacking');
    await visit.page.getByText('changed.mp4 has to be chosen again').first().waitFor();
  });
});
