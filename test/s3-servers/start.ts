import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { type PackageTree, packageTree, requireDebian, run, type Say } from './packages.ts';
import { freePort, Processes } from './processes.ts';
import type { S3Target } from './targets.ts';

export interface S3Server extends S3Target {
  /** The folder of its logs. */
  readonly logs: string;
  /** The processes that ended by themselves since it ran, and how. */
  readonly ended: readonly string[];
  /** The last lines of its log; of all its processes' logs if one has ended by itself. */
  lastWords(): Promise<string>;
  /** Ends it, and removes its data and its logs. */
  stop(options?: { readonly keepLogs?: boolean }): Promise<void>;
}

export interface StartOptions {
  /** Takes the lines that tell what is done. */
  readonly say?: Say;
  readonly signal?: AbortSignal;
}

interface Kind {
  readonly name: string;
  readonly packages: readonly string[];
  /** The Debian releases to try, in order. */
  readonly suites: readonly string[];
  /** Starts its processes; resolves with its version once it listens. */
  boot(
    tree: PackageTree,
    processes: Processes,
    target: Omit<S3Target, 'version'>,
    signal?: AbortSignal,
  ): Promise<string>;
}

/** Ceph's object gateway over a cluster of one monitor and one storage daemon in memory. */
export const startRadosgw = (options: StartOptions = {}): Promise<S3Server> => startFirst(radosgw, options);

/** The Python mock of AWS. It checks no signature and no checksum. */
export const startMoto = (options: StartOptions = {}): Promise<S3Server> => startFirst(moto, options);

const startFirst = async (kind: Kind, { say: sayTo, signal }: StartOptions): Promise<S3Server> => {
  const say: Say = (line) => sayTo?.(`${kind.name}: ${line}`);
  const suites = process.env.S3_DEBIAN_SUITES?.split(',') ?? kind.suites;
  const reasons: string[] = [];
  await requireDebian();
  for (const suite of suites) {
    try {
      const wanted = { name: kind.name, packages: kind.packages, suite, say, signal };
      const tree = await packageTree(wanted);
      try {
        return await start(kind, tree, say, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (!tree.kept) throw error;
        say(`the kept packages do not start, they are taken anew (${(error as Error).message})`);
        await rm(tree.root, { recursive: true, force: true });
        return await start(kind, await packageTree(wanted), say, signal);
      }
    } catch (error) {
      signal?.throwIfAborted();
      const reason = `from Debian ${suite}: ${(error as Error).message}`;
      say(`cannot be had ${reason}`);
      reasons.push(reason.split('\n', 1)[0]!);
    }
  }
  throw new Error(`it cannot be had ${reasons.join('; ')}`);
};

const start = async (kind: Kind, tree: PackageTree, say: Say, signal?: AbortSignal): Promise<S3Server> => {
  const processes = await Processes.open(kind.name);
  try {
    const target = {
      name: kind.name,
      endpoint: `http://127.0.0.1:${await freePort()}`,
      accessKeyId: randomBytes(10).toString('hex').toUpperCase(),
      secretAccessKey: randomBytes(20).toString('hex'),
      region: 'us-east-1',
    };
    const version = await kind.boot(tree, processes, target, signal);
    await warmUp(target, signal);
    say(`${version} (Debian ${tree.suite}) runs on ${target.endpoint}, its logs are in ${processes.folder}`);
    return {
      ...target,
      version,
      logs: processes.folder,
      ended: processes.ended,
      lastWords: () => processes.lastWords(processes.ended.length > 0 ? undefined : kind.name),
      stop: (options) => processes.stop(options),
    };
  } catch (error) {
    await processes.stop({ keepLogs: !signal?.aborted });
    signal?.throwIfAborted();
    const where = `the logs are in ${processes.folder}\n${await processes.lastWords()}`;
    throw new Error(`${(error as Error).message}; ${where}`);
  }
};

const listens = (endpoint: string) => (): Promise<boolean> =>
  fetch(endpoint, { signal: AbortSignal.timeout(2000) }).then(
    () => true,
    () => false,
  );

/** One of each kind of write: the gateway makes its pools at the first one, which takes a while. */
const warmUp = async (target: Omit<S3Target, 'version'>, signal?: AbortSignal): Promise<void> => {
  const { endpoint, region, accessKeyId, secretAccessKey } = target;
  const client = new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
    requestHandler: { requestTimeout: 30_000, throwOnRequestTimeout: true },
  });
  const abortable = signal === undefined ? {} : { abortSignal: signal };
  const object = { Bucket: 'warm-up', Key: 'object' };
  try {
    await client.send(new CreateBucketCommand({ Bucket: object.Bucket }), abortable);
    await client.send(new PutObjectCommand({ ...object, Body: 'warm' }), abortable);
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(object), abortable);
    await client.send(new UploadPartCommand({ ...object, UploadId, PartNumber: 1, Body: 'warm' }), abortable);
    await client.send(new AbortMultipartUploadCommand({ ...object, UploadId }), abortable);
    await client.send(new DeleteObjectCommand(object), abortable);
    await client.send(new DeleteBucketCommand({ Bucket: object.Bucket }), abortable);
  } finally {
    client.destroy();
  }
};

const radosgw: Kind = {
  name: 'radosgw',
  packages: ['radosgw', 'ceph-mon', 'ceph-osd'],
  // Debian 12 itself comes last: its gateway 16 knows no conditional completion and no trailing checksums.
  suites: ['sid', 'testing', 'bookworm'],
  async boot(tree, processes, target, signal) {
    const { data } = processes;
    const fsid = randomUUID();
    const monitor = `[v2:127.0.0.1:${await freePort()}]`;
    const file = (name: string): string => join(data, name);
    for (const name of ['mon', 'osd', 'rgw']) await mkdir(file(name));
    await writeFile(file('keyring'), '');
    await writeFile(file('mime.types'), '');
    await writeFile(file('ceph.conf'), cephConf(tree, data, fsid, monitor, target.endpoint));

    const ceph = (program: string, ...args: string[]): string[] =>
      tree.command(program, '--conf', file('ceph.conf'), ...args);
    const finish = (command: string[]): Promise<string> => run(command, { signal, timeout: 60_000 });
    const version = /ceph version (\S+)/.exec(await finish(tree.command('radosgw', '--version')))?.[1] ?? '';

    await finish(ceph('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', monitor, file('monmap')));
    // A map that has the storage daemon already spares registering it by commands.
    await finish(ceph('osdmaptool', '--createsimple', '1', file('osdmap')));
    const maps = ['--monmap', file('monmap'), '--osdmap', file('osdmap')];
    await finish(ceph('ceph-mon', '--mkfs', '--id', 'a', ...maps));
    await finish(ceph('ceph-osd', '--mkfs', '--id', '0', '--no-mon-config'));

    processes.start('ceph-mon', ceph('ceph-mon', '-f', '--id', 'a'));
    processes.start('ceph-osd', ceph('ceph-osd', '-f', '--id', '0'));
    const isUp = async (): Promise<boolean> =>
      (await processes.readLog('ceph-osd')).includes('booting -> active');
    await processes.until('the storage daemon boots', isUp, signal);

    const keys = ['--access-key', target.accessKeyId, '--secret-key', target.secretAccessKey];
    await finish(ceph('radosgw-admin', 'user', 'create', '--uid', 'test', '--display-name', 'test', ...keys));
    processes.start('radosgw', ceph('radosgw', '-f', '--name', 'client.rgw'));
    await processes.until('the gateway listens', listens(target.endpoint), signal);
    return version;
  },
};

const cephConf = (
  tree: PackageTree,
  data: string,
  fsid: string,
  monitor: string,
  endpoint: string,
): string => {
  const libraries = join(tree.root, 'usr/lib', tree.triplet);
  const modes = ['cluster', 'service', 'client', 'mon_cluster', 'mon_service', 'mon_client'];
  return `[global]
fsid = ${fsid}
mon_host = ${monitor}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
# Without authentication the default mode, encryption, has no key, and the gateway hangs.
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
${modes.map((mode) => `ms_${mode}_mode = crc`).join('\n')}
keyring = ${data}/keyring
run_dir = ${data}
crash_dir = ${data}
admin_socket =
log_file =
log_to_stderr = true
debug_rocksdb = 0
mon_data = ${data}/mon
mon_cluster_log_to_file = false
# Otherwise the monitor ends on a disk that is nearly full.
mon_data_avail_crit = 0
mon_allow_pool_size_one = true
# A batch of changes waits a second by default, and every pool is several.
paxos_propose_interval = 0.02
osd_objectstore = memstore
memstore_device_bytes = ${Math.floor(totalmem() / 2)}
osd_data = ${data}/osd
osd_journal = ${data}/osd/journal
osd_class_dir = ${libraries}/rados-classes
erasure_code_dir = ${libraries}/ceph/erasure-code
plugin_dir = ${libraries}/ceph
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
rgw_data = ${data}/rgw
rgw_mime_types_file = ${data}/mime.types
rgw_frontends = beast endpoint=${new URL(endpoint).host} tcp_nodelay=1
# The content of removed objects is in memory until it is collected, two hours later by default.
rgw_gc_obj_min_wait = 60
rgw_gc_processor_period = 30
`;
};

const moto: Kind = {
  name: 'moto',
  packages: ['python3-moto', 'python3-flask-cors'],
  suites: ['sid', 'testing'],
  async boot(tree, processes, target, signal) {
    const modules = join(tree.root, 'usr/lib/python3/dist-packages');
    const python = tree.command(await tree.python(), '-m', 'moto.server');
    const { hostname, port } = new URL(target.endpoint);
    processes.start('moto', [...python, '--host', hostname, '--port', port], {
      PYTHONHOME: join(tree.root, 'usr'),
      PYTHONPATH: modules,
      PYTHONNOUSERSITE: '1',
      PYTHONUNBUFFERED: '1',
    });
    await processes.until('the server listens', listens(target.endpoint), signal);
    const source = await readFile(join(modules, 'moto/__init__.py'), 'utf8');
    return /__version__ = "(.+)"/.exec(source)?.[1] ?? '';
  },
};
