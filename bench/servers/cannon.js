// The load of many small requests: autocannon, in this process of its own.
import { request } from 'node:http';
import autocannon from 'autocannon';
import { length, pathOf } from './names.js';
import { answerHarness } from './support.js';

/** How soon it notices that its time is up: its default of a second would be added to every run. */
const sampleMs = 100;
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

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

const fire = async ({ port, protocol, connections, seconds, body = '', uploads = 0, isCut = false }) => {
  if (protocol === 'query') await assertKnown(port, uploads);
  const plan = protocols[protocol]({ body: Buffer.from(body, 'base64'), uploads });
  const run = autocannon({
    url: `http://127.0.0.1:${port}`,
    connections,
    duration: seconds,
    sampleInt: sampleMs,
    requests: [plan.request],
    verifyBody: (text) => text === plan.answer,
  });
  // Its own histogram knows whole milliseconds only.
  const latencies = [];
  run.on('response', (_client, _status, _bytes, ms) => latencies.push(ms));
  const { requests, statusCodeStats, errors, timeouts, mismatches, start, finish } = await run;
  const answered = statusCodeStats[plan.status]?.count ?? 0;
  // It reconnects in silence where a server hangs up: a request so lost is one sent and never answered.
  const lost = requests.sent - latencies.length - connections;
  const wrong = latencies.length - answered;
  const isBroken = !isCut && (errors > 0 || lost > 0);
  if (answered === 0 || wrong > 0 || timeouts > 0 || mismatches > 0 || isBroken) {
    const facts = { answered, statuses: statusCodeStats, errors, timeouts, mismatches, lost };
    throw new Error(`not every answer was ${plan.status} ${plan.answer}: ${JSON.stringify(facts)}`);
  }
  latencies.sort((a, b) => a - b);
  return {
    answered,
    sent: requests.sent,
    seconds: (finish - start) / 1000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
};

answerHarness({ fire });
