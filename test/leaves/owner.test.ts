import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isDead, self } from '../../src/owner.ts';

const [machine = '', pid = '', born = '', instance = ''] = self.split('.');
const module = new URL('../../src/owner.ts', import.meta.url).href;
const root = new URL('../..', import.meta.url).pathname;
/** Where a process' start time is to be had. */
const hasBirth = born !== '0';

/** A process that loads the library, says who it is, and lives until its stdin ends. */
const startChild = async (): Promise<{ child: ChildProcess; owner: string }> => {
  const code = `import { self } from ${JSON.stringify(module)};
    process.stdin.resume().on('end', () => process.exit());
    process.stdout.write(self + '\\n');`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  for await (const chunk of child.stdout) {
    text += chunk;
    if (text.endsWith('\n')) break;
  }
  return { child, owner: text.trim() };
};

const end = async (child: ChildProcess, how: 'itself' | 'SIGKILL'): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  if (how === 'itself') child.stdin?.end();
  else child.kill(how);
  await exit;
};

test('this process is alive, and its name may be part of a file name', () => {
  expect(isDead(self)).toBe(false);
  expect(self).toMatch(/^[A-Za-z0-9_.-]+$/);
  expect(self.split('.')).toHaveLength(4);
  expect(Number(pid)).toBe(process.pid);
});

test('another copy of the library in this process is alive', () => {
  expect(isDead(`${machine}.${pid}.${born}.${instance}0`)).toBe(false);
});

describe('another process', () => {
  let running: { child: ChildProcess; owner: string };
  let ended: { child: ChildProcess; owner: string };
  let killed: { child: ChildProcess; owner: string };

  beforeAll(async () => {
    [running, ended, killed] = await Promise.all([startChild(), startChild(), startChild()]);
    expect(isDead(ended.owner)).toBe(false);
    expect(isDead(killed.owner)).toBe(false);
    await Promise.all([end(ended.child, 'itself'), end(killed.child, 'SIGKILL')]);
  });
  afterAll(async () => {
    await end(running.child, 'SIGKILL');
  });

  test('has a name of its own, on the same machine', () => {
    expect(running.owner.split('.')[0]).toBe(machine);
    expect(new Set([self, running.owner, ended.owner, killed.owner]).size).toBe(4);
  });

  test('is alive while it runs', () => {
    expect(isDead(running.owner)).toBe(false);
  });

  test('is dead once it has ended, by itself or by a signal', () => {
    expect(isDead(ended.owner)).toBe(true);
    expect(isDead(killed.owner)).toBe(true);
  });

  test('is never judged dead when it is of another machine, even with the number of a dead one here', () => {
    const elsewhere = Buffer.from('another-host|another-boot|pid:[1]').toString('base64url');
    for (const { owner } of [running, ended, killed]) {
      expect(isDead(owner.replace(machine, elsewhere))).toBe(false);
      expect(isDead(owner.replace(machine, `${machine}A`))).toBe(false);
      expect(isDead(owner.replace(machine, ''))).toBe(false);
    }
  });

  test.skipIf(!hasBirth)('is dead when its number now belongs to a process with another start time', () => {
    const [, childPid, since] = running.owner.split('.');
    expect(isDead(`${machine}.${childPid}.${Number(since) - 1}.x`)).toBe(true);
    expect(isDead(`${machine}.${childPid}.${Number(since) + 1}.x`)).toBe(true);
    expect(isDead(`${machine}.${pid}.${Number(born) - 1}.${instance}`)).toBe(true);
  });

  test('without a start time, is dead exactly when nobody has its number', () => {
    const withoutBirth = (owner: string): string => `${machine}.${owner.split('.')[1]}.0.x`;
    expect(isDead(withoutBirth(running.owner))).toBe(false);
    expect(isDead(withoutBirth(ended.owner))).toBe(true);
    // A process of somebody else, which may not be signalled.
    expect(isDead(`${machine}.1.0.x`)).toBe(false);
  });
});

describe('what cannot be told is never judged dead', () => {
  test.each([
    ['an empty text', ''],
    ['dots', '...'],
    ['text', 'somebody'],
    ['no number', `${machine}.x.${born}.${instance}`],
    ['an empty number', `${machine}..${born}.${instance}`],
    ['number 0', `${machine}.0.${born}.${instance}`],
    ['a negative number', `${machine}.-1.${born}.${instance}`],
    ['a fraction', `${machine}.1e-1.${born}.${instance}`],
    ['a number that is not safe', `${machine}.${2 ** 53}.${born}.${instance}`],
    ['the machine alone', machine],
  ])('%s', (_, owner) => {
    expect(isDead(owner)).toBe(false);
  });

  // The process of this number is this one, which runs.
  test.each([
    ['a name cut off behind the number', `${machine}.${pid}`],
    ['a name cut off before the start time', `${machine}.${pid}.`],
  ])('%s', (_, owner) => {
    expect(isDead(owner)).toBe(false);
  });
});
