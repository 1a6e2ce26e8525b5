// The upload server and its page, in a process that tests kill: says its port, and runs until then.
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { withPage } from '../../../src/page/page.ts';
import { uploadServer } from '../../../src/server.ts';
import { fsStore } from '../../../stores/fs.ts';

const [folder = '', modules = '', port = '0'] = process.argv.slice(2);
const listener = withPage(uploadServer({ store: fsStore(folder, { durability: 'process' }) }), { modules });
const server = http.createServer({ requestTimeout: 0 }, listener);
server.listen(Number(port), '127.0.0.1');
await once(server, 'listening');
process.send?.({ port: (server.address() as AddressInfo).port });
