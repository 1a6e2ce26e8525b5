import './faulty-fs.ts'; // first: stores keep functions of `node:fs` for themselves when they are loaded
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '../../src/store.ts';
import type { StepHook, WorldFactory } from '../conformance/store.ts';
import { interceptCommits } from './faulty-commits.ts';
import { interceptFolder, openFiles } from './faulty-fs.ts';
import { SyncedFolder } from './synced-folder.ts';

/** In memory, where there is such a place: what a disk would lose is said here without one, and its time proves nothing. */
const home = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/**
 * A folder, each call into which is a step, and of which nothing may be open or half made in the end. A commit to its
 * database, where it has one, is a step too.
 */
export const folderWorld =
  (open: (directory: string) => Store, { survivesPowerCuts = false, hasSteps = true } = {}): WorldFactory =>
  async () => {
    const root = await mkdtemp(join(home, 'conformance-'));
    const [data, directory] = [join(root, 'data'), join(root, 'targets')];
    await mkdir(directory);
    const synced = survivesPowerCuts ? new SyncedFolder(root) : undefined;
    const watch = (hook?: StepHook): void => {
      interceptFolder(root, (step, target) => {
        synced?.observe(step, target);
        hook?.(step);
      });
      interceptCommits(join(data, 'index.sqlite'), hook);
    };
    let isDisturbed = false;
    if (synced !== undefined) watch();
    return {
      open: () => open(data),
      directory,
      ...(hasSteps && {
        intercept: (hook) => {
          isDisturbed ||= hook !== undefined;
          watch(hook);
        },
      }),
      ...(synced && {
        cutPower: async () => {
          isDisturbed = true;
          synced.cut();
        },
      }),
      dispose: async () => {
        interceptFolder(root, undefined);
        interceptCommits(join(data, 'index.sqlite'), undefined);
        synced?.close();
        const files = openFiles(root);
        const staged = await readdir(join(data, 'staging')).catch(() => []);
        await rm(root, { recursive: true });
        assert.deepEqual(files, [], 'files are still open');
        if (!isDisturbed) assert.deepEqual(staged, [], 'something is left in staging');
      },
    };
  };
