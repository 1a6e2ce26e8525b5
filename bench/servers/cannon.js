// The load of many small requests: autocannon, in this process of its own.
import { request } from 'node:http';
import { length, pathOf } from './names.js';
import { shoot } from './shooting.js';
import { answerHarness } from './support.js';

const knownSamples = 8;

const anyOf = (uploads) => pathOf(Math.floor(Math.random() * uploads));

const query = (total) => ({ method: 'PUT', headers: { 'Content-Range': `bytes */${total}` } });

/** What each protocol sends, and the one answer to it that is right. */
const protocols = {
  post: ({ body }) => ({
    request: {
      method: 'POST',
      path: '/upload',
      headers: { 'Content-Type': 'application/octet-stream' },
      body,
    },
    status: 200,
    answer: String(body.length),
  }),
  /** "Creation With Upload": the body comes with the request that creates the upload. */
  tus: ({ body }) => ({
    request: {
      method: 'POST',
      path: '/upload',
      headers: {
        'Tus-Resumable': '1.0.0',
        'Upload-Length': String(body.length),
        'Content-Type': 'application/offset+octet-stream',
      },
      body,
    },
    status: 200,
    answer: String(body.length),
  }),
  query: ({ uploads }) => ({
    request: { ...query(length), setupRequest: (head) => ({ ...head, path: anyOf(uploads) }) },
    status: 308,
    answer: '',
  }),
};

const statusOf = (port, path, head) =>
  new Promise((resolve, reject) => {
    const req = request({ port, host: '127.0.0.1', path, agent: false, ...head }, (res) => {
      res.resume().once('end', () => resolve(res.statusCode));
    });
    req.once('error', reject).end();
  });

/**
 * A name that nobody has used is answered like an upload without bytes. Only of an existing one another length
 * is refused: without this check the queries could be about nothing.
 */
const assertKnown = async (port, uploads) => {
  for (let i = 0; i < knownSamples; i++) {
    const path = anyOf(uploads);
    const status = await statusOf(port, path, query(length + 1));
    if (status !== 400) throw new Error(`${path} is no upload: another length was answered ${status}`);
  }
};

const fire = async (load) => {
  const { port, protocol, body = '', uploads = 0 } = load;
  if (protocol === 'query') await assertKnown(port, uploads);
  return shoot(load, protocols[protocol]({ body: Buffer.from(body, 'base64'), uploads }));
};

answerHarness({ fire });
