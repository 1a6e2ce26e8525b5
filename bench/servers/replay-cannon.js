// The load of clients that ask again about uploads that were answered long ago: autocannon, in this process of its own.
import { request } from 'node:http';
import { pathOf } from './names.js';
import { shoot } from './shooting.js';
import { answerHarness } from './support.js';

/** One PUT with a whole body: makes an upload that is answered and done. */
const put = (port, path, body) =>
  new Promise((resolve, reject) => {
    const req = request({ port, host: '127.0.0.1', path, method: 'PUT', agent: false }, (res) => {
      res.resume().once('end', () => resolve(res.statusCode));
    });
    req.once('error', reject).end(body);
  });

/** Finishes the uploads numbered from `first` on. */
const finish = async ({ port, first, uploads, bytes }) => {
  const body = Buffer.alloc(bytes, 'resumable');
  for (let number = first; number < first + uploads; number++) {
    const status = await put(port, pathOf(number), body);
    if (status !== 200) throw new Error(`upload ${number} was answered ${status}`);
  }
};

/** Asks about any of them, and takes nothing but the answer that each had at its end. */
const fire = (load) => {
  const { first, uploads, bytes } = load;
  const request = {
    method: 'PUT',
    headers: { 'Content-Range': `bytes */${bytes}` },
    setupRequest: (head) => ({ ...head, path: pathOf(first + Math.floor(Math.random() * uploads)) }),
  };
  return shoot(load, { request, status: 200, answer: String(bytes) });
};

answerHarness({ finish, fire });
