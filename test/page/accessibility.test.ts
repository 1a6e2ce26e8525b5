import { readFile } from 'node:fs/promises';
import type { AxeResults, RunOptions } from 'axe-core';
import { describe, expect } from 'vitest';
import { file, inBrowser, MiB, start } from './support/stage.ts';
import type { Visit } from './support/visit.ts';

const source = await readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
const rules: RunOptions = {
  runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
};

/** What is wrong with the page as it is now. */
const violations = async ({ page }: Visit): Promise<string[]> => {
  await page.evaluate(`${source}; 0`);
  const found = await page.evaluate<AxeResults>(`axe.run(document, ${JSON.stringify(rules)})`);
  expect(found.passes.length).toBeGreaterThan(10);
  return found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
};

/** Whether something has to be scrolled to the side. */
const overflow = ({ page }: Visit): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');

const longName = `a film with a name that is much longer than any column ${'x'.repeat(90)}.mp4`;

describe('nothing stands in the way of whoever uses the page', () => {
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [1280, 320]) {
      inBrowser(
        `in ${colorScheme}, ${width} pixels wide: idle, uploading, waiting, paused and done`,
        async () => {
          const { server, visit } = await start({ colorScheme, viewport: { width, height: 800 } });
          const judge = async (state: string): Promise<void> => {
            expect([state, await violations(visit), await overflow(visit)]).toEqual([state, [], 0]);
          };
          await judge('idle');
          const [film, small] = await Promise.all([file(longName, 6 * MiB, 1), file('small.bin', 100, 2)]);
          await visit.limit(MiB);
          await visit.choose(film.path, small.path);
          await visit.reach(longName, 'sending');
          await visit.reach('small.bin', 'done');
          await judge('uploading');
          await visit.page.getByRole('progressbar', { name: longName, exact: true }).waitFor();
          await server.kill();
          await visit.page.locator('#banner').waitFor();
          await judge('waiting');
          await visit.button(`Pause ${longName}`).click();
          await visit.reach(longName, 'paused');
          await judge('paused');
          await server.restart();
          await visit.limit(0);
          await visit.button(`Resume ${longName}`).click();
          await visit.reach(longName, 'done');
          await visit.choose(small.path);
          await visit.page.locator('#notice').waitFor();
          await judge('done');
        },
      );
    }
  }

  inBrowser('with motion reduced nothing moves by itself', async () => {
    const { visit } = await start({ reducedMotion: 'reduce' });
    const moving = await visit.page.evaluate(`[...document.querySelectorAll('*')].filter((element) => {
      const { animationName, transitionDuration } = getComputedStyle(element);
      return animationName !== 'none' || parseFloat(transitionDuration) > 0;
    }).length`);
    expect(moving).toBe(0);
  });

  inBrowser('what is said aloud are states, not percents', async () => {
    const { visit } = await start();
    const film = await file('spoken.mp4', 6 * MiB);
    await visit.page.evaluate(`globalThis.said = []; new MutationObserver(() => {
      const text = document.querySelector('[role=status]').textContent;
      if (text !== '') said.push(text);
    }).observe(document.querySelector('[role=status]'), { childList: true, characterData: true, subtree: true });`);
    await visit.limit(2 * MiB);
    await visit.choose(film.path);
    await visit.reach('spoken.mp4', 'done');
    await visit.page.getByRole('status').filter({ hasText: 'spoken.mp4 is uploaded.' }).waitFor();
    expect(await visit.page.evaluate('said')).toEqual(['1 file added.', 'spoken.mp4 is uploaded.']);
  });
});
