// The load of clients that ask again about uploads that were answered long ago: autocannon, in this process of its own.
import { request } from 'node:http';
import autocannon from 'autocannon';
import { pathOf } from './names.js';
import { answerHarness } from './support.js';

/** How soon it notices that its time is up: its default of a second would be added to every run. */
const sampleMs = 100;

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

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

/** Asks about any of them, and takes nothing but the answer that each had at its end. */
const fire = async ({ port, first, uploads, bytes, connections, seconds }) => {
  const latencies = [];
  const run = autocannon({
    url: `http://127.0.0.1:${port}`,
    connections,
    duration: seconds,
    sampleInt: sampleMs,
    requests: [
      {
        method: 'PUT',
        headers: { 'Content-Range': `bytes */${bytes}` },
        setupRequest: (head) => ({ ...head, path: pathOf(first + Math.floor(Math.random() * uploads)) }),
      },
    ],
    verifyBody: (text) => text === String(bytes),
  });
  // Its own histogram knows whole milliseconds only.
  run.on('response', (_client, _status, _bytes, ms) => latencies.push(ms));
  const { requests, statusCodeStats, errors, timeouts, mismatches, start, finish: end } = await run;
  const answered = statusCodeStats[200]?.count ?? 0;
  // It reconnects in silence where a server hangs up: a request so lost is one sent and never answered.
  const lost = requests.sent - latencies.length - connections;
  const wrong = latencies.length - answered;
  if (answered === 0 || wrong > 0 || errors > 0 || timeouts > 0 || mismatches > 0 || lost > 0) {
    const facts = { answered, statuses: statusCodeStats, errors, timeouts, mismatches, lost };
    throw new Error(`not every answer was the one that was stored: ${JSON.stringify(facts)}`);
  }
  latencies.sort((a, b) => a - b);
  return {
    answered,
    sent: requests.sent,
    seconds: (end - start) / 1000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
};

answerHarness({ finish, fire });
