// autocannon, as every load of many small requests uses it.
import autocannon from 'autocannon';

/** How soon it notices that its time is up: its default of a second would be added to every run. */
const sampleMs = 100;

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

/**
 * Sends one request again and again, and takes no answer for right but `status` with the body `answer`. With `isCut`
 * connections may break on their way.
 */
export const shoot = async ({ port, connections, seconds, isCut = false }, { request, status, answer }) => {
  const run = autocannon({
    url: `http://127.0.0.1:${port}`,
    connections,
    duration: seconds,
    sampleInt: sampleMs,
    requests: [request],
    verifyBody: (text) => text === answer,
  });
  // Its own histogram knows whole milliseconds only.
  const latencies = [];
  run.on('response', (_client, _status, _bytes, ms) => latencies.push(ms));
  const { requests, statusCodeStats, errors, timeouts, mismatches, start, finish } = await run;
  const answered = statusCodeStats[status]?.count ?? 0;
  // It reconnects in silence where a server hangs up: a request so lost is one sent and never answered.
  const lost = requests.sent - latencies.length - connections;
  const wrong = latencies.length - answered;
  const isBroken = !isCut && (errors > 0 || lost > 0);
  if (answered === 0 || wrong > 0 || timeouts > 0 || mismatches > 0 || isBroken) {
    const facts = { answered, statuses: statusCodeStats, errors, timeouts, mismatches, lost };
    throw new Error(`not every answer was ${status} ${answer}: ${JSON.stringify(facts)}`);
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
