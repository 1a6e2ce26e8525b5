import { hash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { systemCode } from './errors.ts';

// A process that others may have to judge dead. Process ids are reused, and two containers may share a
// volume, a kernel and a number, so a pid alone proves nothing. An owner is written
//
//     MACHINE.PID.BORN.INSTANCE
//
// MACHINE   a hash of host name, boot and pid namespace: only within the same one can a pid be looked up at all
// BORN      start time of the process in clock ticks since boot (Linux; 0 elsewhere)
// INSTANCE  this loaded copy of the library, so that two in one process differ

const instance = randomBytes(6).toString('hex');

const read = <T>(get: () => T, otherwise: T): T => {
  try {
    return get();
  } catch {
    return otherwise; // not Linux, or /proc is not mounted: the lease alone decides
  }
};

/** Field 22 of /proc/PID/stat; field 2, the command in brackets, may itself hold spaces and brackets. */
const born = (pid: number): string | undefined =>
  readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')[19];

const machine = hash(
  'sha256',
  [
    hostname(),
    read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(), ''),
    read(() => readlinkSync('/proc/self/ns/pid'), ''),
  ].join('|'),
  'base64url',
).slice(0, 22);

/** This process. Of the form `[A-Za-z0-9_.-]+`, so it may be part of a file name. */
export const self = `${machine}.${process.pid}.${read(() => born(process.pid), undefined) ?? 0}.${instance}`;

/**
 * Whether a process is certainly dead. False whenever that cannot be told, for one on another machine
 * above all: then only time decides (`Claim.expiresAt`).
 */
export const isDead = (owner: string): boolean => {
  if (owner === self) return false;
  const [, where, pidText, since] = /^([\w-]+)\.([1-9]\d{0,9})\.(\d+)\.[\w-]+$/.exec(owner) ?? [];
  const pid = Number(pidText);
  if (where !== machine) return false;
  if (since !== '0') {
    try {
      return born(pid) !== since;
    } catch (error) {
      return systemCode(error) === 'ENOENT' || systemCode(error) === 'ESRCH';
    }
  }
  try {
    process.kill(pid, 0); // signal 0 only asks
    return false;
  } catch (error) {
    return systemCode(error) === 'ESRCH';
  }
};
