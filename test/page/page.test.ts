import { writeFile } from 'node:fs/promises';
import { describe, expect, vi } from 'vitest';
import { sha256 } from '../support/requests.ts';
import { file, inBrowser, MiB, start, sumOf } from './support/stage.ts';
import type { Visit } from './support/visit.ts';

/** Resolves when nothing is under way in any tab: whoever sends holds a lock. */
const noneSends = ({ page }: Visit): Promise<void> =>
  vi.waitFor(async () => {
    const { held } = await page.evaluate<{ held: object[] }>('navigator.locks.query()');
    expect(held).toEqual([]);
  });

describe('the page', () => {
  inBrowser(
    '64 MiB arrive whole though the server is killed halfway and the page is loaded anew',
    async () => {
      const { server, visit } = await start();
      const film = await file('film.mp4', 64 * MiB);
      await visit.limit(24 * MiB);
      await visit.choose(film.path);
      await visit.pass('film.mp4', 50);
      await server.kill();
      await visit.reach('film.mp4', 'away');
      await server.restart();
      await visit.page.reload();
      await visit.reach('film.mp4', 'sending');
      const state = await visit.row('film.mp4').locator('.state').textContent();
      const [, pickedUpAt] = /picked up at ([\d.]+)\sMiB/.exec(state ?? '') ?? [];
      expect(Number(pickedUpAt)).toBeGreaterThanOrEqual(8);
      await visit.limit(0);
      await visit.reach('film.mp4', 'done');
      expect(await sumOf(await visit.link('film.mp4'))).toBe(film.sum);
    },
  );

  inBrowser('of several files two are sent at once, and all wait for a server that is away', async () => {
    const { server, visit } = await start();
    const files = await Promise.all([1, 2, 3].map((seed) => file(`part-${seed}.bin`, 6 * MiB, seed)));
    await visit.limit(4 * MiB);
    await visit.choose(...files.map(({ path }) => path));
    await vi.waitFor(async () => {
      expect(await visit.page.locator('.row[data-phase=sending]').count()).toBe(2);
      expect(await visit.page.locator('.row[data-phase=queued]').count()).toBe(1);
    });
    await server.kill();
    await visit.page.locator('#banner').filter({ hasText: 'Waiting for the server' }).waitFor();
    await visit.page.getByRole('status').filter({ hasText: 'Waiting for the server' }).waitFor();
    await visit.limit(0);
    await server.restart();
    for (const [i, { sum }] of files.entries()) {
      await visit.reach(`part-${i + 1}.bin`, 'done');
      expect(await sumOf(await visit.link(`part-${i + 1}.bin`))).toBe(sum);
    }
    expect(await visit.page.locator('#banner').isVisible()).toBe(false);
    expect(await visit.page.locator('#summary').textContent()).toBe('3 files, 18.0\u00a0MiB');
  });

  inBrowser('a paused upload stays where it is, through a reload too, and goes on to its end', async () => {
    const { visit } = await start();
    const film = await file('paused.mp4', 16 * MiB);
    await visit.limit(4 * MiB);
    await visit.choose(film.path);
    await visit.pass('paused.mp4', 20);
    await visit.button('Pause paused.mp4').click();
    await visit.reach('paused.mp4', 'paused');
    const requests: string[] = [];
    visit.page.on('request', (request) => void requests.push(`${request.method()} ${request.url()}`));
    await noneSends(visit);
    const before = await visit.percent('paused.mp4');
    expect(before).toBeGreaterThanOrEqual(20);
    await visit.page.reload();
    await visit.reach('paused.mp4', 'paused');
    // What was sent last may have been told after that.
    expect(await visit.percent('paused.mp4')).toBeGreaterThanOrEqual(before);
    expect(requests.filter((request) => !request.startsWith('GET '))).toEqual([]);
    await visit.limit(0);
    await visit.button('Resume paused.mp4').click();
    await visit.reach('paused.mp4', 'done');
    expect(await sumOf(await visit.link('paused.mp4'))).toBe(film.sum);
  });

  inBrowser('a pause leaves the others going', async () => {
    const { visit } = await start();
    const [one, two] = await Promise.all([file('one.bin', 8 * MiB, 1), file('two.bin', 8 * MiB, 2)]);
    await visit.limit(2 * MiB);
    await visit.choose(one.path, two.path);
    await visit.pass('one.bin', 5);
    await visit.pass('two.bin', 5);
    await visit.button('Pause one.bin').click();
    await visit.reach('one.bin', 'paused');
    await visit.limit(0);
    await visit.reach('two.bin', 'done');
    expect(await sumOf(await visit.link('two.bin'))).toBe(two.sum);
    expect(await visit.row('one.bin').getAttribute('data-phase')).toBe('paused');
  });

  inBrowser('a pause in one tab stops the upload in the tab that sends it', async () => {
    const { visit, server } = await start();
    const film = await file('tabs.mp4', 8 * MiB);
    await visit.limit(1 * MiB);
    await visit.choose(film.path);
    await visit.pass('tabs.mp4', 5);
    const other = await visit.another(server.url);
    await other.reach('tabs.mp4', 'sending');
    await other.button('Pause tabs.mp4').click();
    await visit.reach('tabs.mp4', 'paused');
    await other.reach('tabs.mp4', 'paused');
    await noneSends(other);
    await other.button('Resume tabs.mp4').click();
    await visit.limit(0);
    await visit.reach('tabs.mp4', 'done');
    await other.reach('tabs.mp4', 'done');
  });

  inBrowser('the same file, chosen twice, is one row and one upload', async () => {
    const { visit } = await start();
    const film = await file('twice.mp4', 2 * MiB);
    const begun: string[] = [];
    visit.page.on('request', (request) => {
      if (request.headers()['upload-metadata'] !== undefined) begun.push(request.url());
    });
    await visit.limit(1 * MiB);
    await visit.choose(film.path);
    await visit.reach('twice.mp4', 'sending');
    await visit.choose(film.path);
    await visit.page.getByText('twice.mp4 is in the list already').first().waitFor();
    await visit.limit(0);
    await visit.reach('twice.mp4', 'done');
    await visit.choose(film.path);
    await visit.page.getByText('twice.mp4 is uploaded already').first().waitFor();
    expect(await visit.page.locator('.row').count()).toBe(1);
    expect(begun).toHaveLength(1);
  });

  inBrowser(
    'a file that the browser does not keep is asked for again, and goes on where it was',
    async () => {
      const { visit } = await start();
      const film = await file('large.mp4', 12 * MiB);
      const other = await file('other.mp4', 12 * MiB, 9);
      await visit.quota(4 * MiB);
      await visit.limit(4 * MiB);
      await visit.choose(film.path);
      await visit.page.getByText('This browser cannot keep a file this large').waitFor();
      await visit.pass('large.mp4', 30);
      await visit.page.reload();
      await visit.reach('large.mp4', 'lacking');
      await visit.again('large.mp4', other.path);
      await visit.page.getByText('That is not the file that large.mp4 was').first().waitFor();
      await visit.again('large.mp4', film.path);
      await visit.reach('large.mp4', 'sending');
      expect(await visit.row('large.mp4').locator('.state').textContent()).toContain('picked up at');
      await visit.limit(0);
      await visit.reach('large.mp4', 'done');
      expect(await sumOf(await visit.link('large.mp4'))).toBe(film.sum);
    },
  );

  inBrowser('a file that the server no longer has is uploaded again', async () => {
    const { server, visit } = await start();
    const film = await file('again.mp4', MiB);
    await visit.choose(film.path);
    await visit.reach('again.mp4', 'done');
    const before = await visit.link('again.mp4');
    await server.kill();
    await server.forget();
    await server.restart();
    const answer = visit.page.waitForResponse((response) => response.status() === 201);
    await visit.choose(film.path);
    await answer;
    await visit.reach('again.mp4', 'done');
    expect(await visit.page.locator('.row').count()).toBe(1);
    expect(await visit.link('again.mp4')).not.toBe(before);
    expect(await sumOf(await visit.link('again.mp4'))).toBe(film.sum);
  });

  for (const isPaused of [false, true]) {
    const when = isPaused ? 'paused' : 'sent';
    inBrowser(`one that is not kept, and changed while it is ${when}, is asked for again`, async () => {
      const { visit } = await start();
      const film = await file('changed.mp4', 12 * MiB);
      await visit.quota(4 * MiB);
      await visit.limit(2 * MiB);
      await visit.choose(film.path);
      await visit.pass('changed.mp4', 10);
      if (isPaused) {
        await visit.button('Pause changed.mp4').click();
        await visit.reach('changed.mp4', 'paused');
      }
      await writeFile(film.path, 'another');
      if (!isPaused) return visit.reach('changed.mp4', 'lacking');
      const asked = visit.page.waitForEvent('filechooser');
      await visit.button('Resume changed.mp4').click();
      await asked;
    });
  }

  inBrowser('one that is cancelled is given up at the server, also when it is paused', async () => {
    const { visit } = await start();
    const film = await file('cancelled.mp4', 8 * MiB);
    for (const isPaused of [false, true]) {
      await visit.limit(2 * MiB);
      await visit.choose(film.path);
      await visit.pass('cancelled.mp4', 5);
      if (isPaused) {
        await visit.button('Pause cancelled.mp4').click();
        await visit.reach('cancelled.mp4', 'paused');
      }
      const told = visit.page.waitForResponse((response) => response.request().method() === 'DELETE');
      await visit.button('Cancel cancelled.mp4').click();
      expect((await told).status()).toBeLessThan(300);
      await visit.page.locator('.row').waitFor({ state: 'detached' });
      expect(await visit.page.locator('#uploads').isVisible()).toBe(false);
    }
  });

  inBrowser('a network that is gone is said to be, and the upload goes on when it is back', async () => {
    const { visit } = await start();
    const film = await file('offline.mp4', 4 * MiB);
    await visit.limit(1 * MiB);
    await visit.choose(film.path);
    await visit.pass('offline.mp4', 5);
    await visit.offline(true);
    await visit.page.getByText('You are offline').first().waitFor();
    await visit.offline(false);
    await visit.reach('offline.mp4', 'done');
    await visit.page.locator('#banner').waitFor({ state: 'hidden' });
    expect(await sumOf(await visit.link('offline.mp4'))).toBe(film.sum);
  });

  inBrowser('a file that is dropped anywhere is uploaded, and its name is only text', async () => {
    const { visit } = await start();
    const name = '<img src=x onerror=alert(1)>.txt';
    const transfer = await visit.page.evaluateHandle(`(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(['hello'], ${JSON.stringify(name)}, { lastModified: 1 }));
      return transfer;
    })()`);
    await visit.page.dispatchEvent('h1', 'dragover', { dataTransfer: transfer });
    expect(await visit.page.locator('.drop.over').count()).toBe(1);
    await visit.page.dispatchEvent('h1', 'drop', { dataTransfer: transfer });
    await visit.reach(name, 'done');
    expect(await visit.page.locator('.drop.over, .row img').count()).toBe(0);
    expect(await sumOf(await visit.link(name))).toBe(sha256(new TextEncoder().encode('hello')));
  });

  inBrowser('the link of one that is done downloads it under its name, and can be copied', async () => {
    const { visit } = await start({ permissions: ['clipboard-read', 'clipboard-write'] });
    const film = await file('linked.mp4', MiB);
    await visit.choose(film.path);
    await visit.reach('linked.mp4', 'done');
    const [download] = await Promise.all([
      visit.page.waitForEvent('download'),
      visit.page.getByRole('link', { name: 'Download linked.mp4' }).click(),
    ]);
    expect(download.suggestedFilename()).toBe('linked.mp4');
    await visit.button('Copy link linked.mp4').click();
    await visit.page.getByText('Copied').waitFor();
    expect(await visit.page.evaluate('navigator.clipboard.readText()')).toBe(await visit.link('linked.mp4'));
    await visit.button('Clear finished').click();
    await visit.page.locator('.row').waitFor({ state: 'detached' });
    expect(await visit.page.evaluate('document.activeElement.id')).toBe('files');
  });
});

describe('with the keyboard alone', () => {
  inBrowser('files are chosen, paused, resumed and cancelled, and the focus is never lost', async () => {
    const { visit } = await start();
    const [one, two] = await Promise.all([file('one.bin', 8 * MiB, 1), file('two.bin', 8 * MiB, 2)]);
    const { page } = visit;
    const focused = (): Promise<string> =>
      page.evaluate(
        `(() => { const it = document.activeElement; return (it.labels?.[0] ?? it).textContent.trim(); })()`,
      );
    const press = async (key: string): Promise<string> => {
      await page.keyboard.press(key);
      return focused();
    };
    await visit.limit(MiB);
    expect(await press('Tab')).toBe('Choose files');
    const choosing = page.waitForEvent('filechooser');
    await page.keyboard.press('Enter');
    await (await choosing).setFiles([one.path, two.path]);
    await visit.reach('one.bin', 'sending');
    await visit.reach('two.bin', 'sending');
    const first = await press('Tab');
    const [, name = ''] = /^Pause (.*)$/.exec(first) ?? [];
    expect(['one.bin', 'two.bin']).toContain(name);
    await page.keyboard.press('Enter');
    await visit.reach(name, 'paused');
    expect(await focused()).toBe(`Resume ${name}`);
    await page.keyboard.press('Space');
    await visit.reach(name, 'sending');
    expect(await focused()).toBe(`Pause ${name}`);
    expect(await press('Tab')).toBe(`Cancel ${name}`);
    await page.keyboard.press('Enter');
    await visit.row(name).waitFor({ state: 'detached' });
    const other = name === 'one.bin' ? 'two.bin' : 'one.bin';
    expect(await focused()).toBe(`Cancel ${other}`);
    expect(await press('Shift+Tab')).toBe(`Pause ${other}`);
    await visit.limit(0);
    await visit.reach(other, 'done');
    // The button that had it is gone.
    expect(await focused()).toBe(`Download ${other}`);
    expect([await press('Tab'), await press('Tab')]).toEqual([`Copy link ${other}`, `Remove ${other}`]);
    await page.keyboard.press('Enter');
    await visit.row(other).waitFor({ state: 'detached' });
    expect(await focused()).toBe('Choose files');
  });
});
