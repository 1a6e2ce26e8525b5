// How each protocol brings a file through a network that fails. Each is a function of a lane, which is one upload's
// way to the server, that resolves with the name by which what is stored can be found. Nobody waits before trying
// again: what is measured is the server.
import { Interrupted, Stopped } from './interrupted-link.js';
import { pathIn } from './sending.js';

/** Wrong answers in a row after which an upload is given up. */
const patience = 20;
/**
 * Connections in a row on which no 103 told anything new, after which a client that trusts in them asks after all. The
 * server says what it has as soon as one begins, so this takes many that don't live for one way there and back.
 */
const silence = 20;

class Lane {
  constructor(link, number, size, track = String(number)) {
    Object.assign(this, { link, number, size, track });
    this.wrong = 0;
    /** Whether the server has just said where to go on. */
    this.asked = false;
  }

  /** One try. Undefined when it was interrupted, or was answered as it should not be. */
  async attempt(request, statuses) {
    const offset = request.body?.start ?? 0;
    const asked = request.body !== undefined && this.asked;
    const fields = { ...request.fields, 'X-Track': `${this.track} ${offset}${asked ? ' asked' : ''}` };
    if (asked) this.asked = false;
    try {
      const answer = await this.link.exchange({ ...request, fields });
      if (statuses.includes(answer.status)) {
        this.wrong = 0;
        return answer;
      }
      this.link.note(answer, `${request.method} ${request.fields['Content-Range'] ?? ''}`);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      return undefined;
    }
    if (++this.wrong === patience) throw new Error(`${patience} wrong answers in a row`);
    return undefined;
  }

  /** Tries until it succeeds. */
  async insist(request, statuses) {
    for (;;) {
      const answer = await this.attempt(request, statuses);
      if (answer !== undefined) return answer;
    }
  }

  /** Asks for the state of the upload until it is told. */
  async query(request, statuses) {
    this.link.facts.queries++;
    const answer = await this.insist(request, statuses);
    this.asked = true;
    return answer;
  }

  part(start, end = this.size) {
    return { number: this.number, start, end };
  }

  contentRange({ start, end }) {
    return `bytes ${start}-${end - 1}/${this.size}`;
  }
}

/** The ranges of a 308 or 103, half-open. */
const rangesOf = ({ fields }) =>
  [...(fields.range ?? '').matchAll(/(\d+)-(\d+)/g)].map(([, first, last]) => [
    Number(first),
    Number(last) + 1,
  ]);

/** The first byte from `start` on that is in none of the ranges, which are sorted and apart. */
const firstMissing = (ranges, start) =>
  ranges.find(([from, to]) => from <= start && start < to)?.[1] ?? start;

/** This library's protocol, apart from what is done after a cut. */
const handshake = async (lane) => {
  const fields = { 'Content-Range': `bytes */${lane.size}` };
  return pathIn(await lane.insist({ method: 'POST', target: '/upload', fields }, [308]));
};

const range = (lane, target, part, more = {}) => ({
  method: 'POST',
  target,
  fields: { 'Content-Range': lane.contentRange(part), ...more.fields },
  body: part,
  onInterim: more.onInterim,
});

const state = (lane, target) => ({
  method: 'POST',
  target,
  fields: { 'Content-Range': `bytes */${lane.size}` },
});

/** Sends the bytes from `start` to `end`; after each cut it asks where to go on. Resolves with the final answer, if it was this one's. */
const bring = async (lane, target, start, end) => {
  let at = start;
  while (at < end) {
    const answer =
      (await lane.attempt(range(lane, target, lane.part(at, end)), [200, 308])) ??
      (await lane.query(state(lane, target), [200, 308]));
    if (answer.status === 200) return answer;
    at = firstMissing(rangesOf(answer), start);
  }
  return undefined;
};

/** All bytes are there, and the answer that says so was lost, or was another request's. */
const askForAnswer = (lane, target) => {
  lane.link.facts.answersAsked++;
  return lane.insist(state(lane, target), [200]);
};

const gears = async (lane) => {
  const target = await handshake(lane);
  const { body } = (await bring(lane, target, 0, lane.size)) ?? (await askForAnswer(lane, target));
  return body;
};

/** Goes on from what the last 103 said, without asking. */
const checkpoints = async (lane) => {
  const target = await handshake(lane);
  let told = 0;
  let silent = 0;
  while (told < lane.size) {
    const before = told;
    const onInterim = ({ status, fields }) => {
      if (status === 103 && fields.range) told = Math.max(told, firstMissing(rangesOf({ fields }), 0));
    };
    const fields = { Prefer: 'checkpoint' };
    let answer = await lane.attempt(range(lane, target, lane.part(told), { fields, onInterim }), [200, 308]);
    silent = told > before ? 0 : silent + 1;
    if (answer === undefined && silent >= silence) {
      answer = await lane.query(state(lane, target), [200, 308]);
      silent = 0;
    }
    if (answer?.status === 200) return answer.body;
    if (answer !== undefined) told = firstMissing(rangesOf(answer), 0);
  }
  return (await askForAnswer(lane, target)).body;
};

/** Four ranges at once, each over a connection of its own. */
const parallel = async (lane, newLink) => {
  const target = await handshake(lane);
  const quarter = Math.ceil(lane.size / 4);
  const ways = Array.from({ length: 4 }, async (_, i) => {
    const link = newLink();
    const way = new Lane(link, lane.number, lane.size, `${lane.track}.${i}`);
    try {
      return await bring(way, target, i * quarter, Math.min(lane.size, (i + 1) * quarter));
    } finally {
      link.close();
    }
  });
  const answers = await Promise.all(ways);
  const { body } = answers.find((answer) => answer !== undefined) ?? (await askForAnswer(lane, target));
  return body;
};

const tus = async (lane) => {
  const version = { 'Tus-Resumable': '1.0.0' };
  const creation = { method: 'POST', target: '/upload', fields: { ...version, 'Upload-Length': lane.size } };
  const target = pathIn(await lane.insist(creation, [201]));
  let at = 0;
  while (at < lane.size) {
    const fields = { ...version, 'Upload-Offset': at, 'Content-Type': 'application/offset+octet-stream' };
    const answer =
      (await lane.attempt({ method: 'PATCH', target, fields, body: lane.part(at) }, [200, 204])) ??
      (await lane.query({ method: 'HEAD', target, fields: version }, [200]));
    at = Number(answer.fields['upload-offset'] ?? answer.body);
  }
  return target.split('/').at(-1);
};

const uploadx = async (lane) => {
  const creation = {
    method: 'POST',
    target: '/upload',
    fields: { 'Content-Type': 'application/json', 'X-Upload-Content-Length': lane.size },
    // An upload without a name gets an id that it then refuses.
    text: JSON.stringify({ name: `upload-${lane.number}` }),
  };
  const target = pathIn(await lane.insist(creation, [201]));
  const query = { method: 'PUT', target, fields: { 'Content-Range': `bytes */${lane.size}` } };
  let at = 0;
  for (;;) {
    // It may hold every byte and not know that it is complete: only a byte tells it.
    const body = lane.part(Math.min(at, lane.size - 1));
    const fields = { 'Content-Range': lane.contentRange(body) };
    const answer =
      (await lane.attempt({ method: 'PUT', target, fields, body }, [200, 308])) ??
      (await lane.query(query, [200, 308]));
    if (answer.status === 200) return JSON.parse(answer.body).id;
    // With nothing stored it says `bytes=0--1`.
    at = Number(/^bytes=0-(-?\d+)$/.exec(answer.fields.range)?.[1]) + 1;
  }
};

const restart = async (lane) => {
  const name = `upload-${lane.number}`;
  await lane.insist({ method: 'POST', target: `/${name}`, fields: {}, body: lane.part(0) }, [200]);
  return name;
};

/** Each chunk again until it is answered. */
const chunked = async (lane) => {
  const name = `upload-${lane.number}`;
  for (let at = 0; at < lane.size; at += 2 ** 20) {
    const body = lane.part(at, Math.min(at + 2 ** 20, lane.size));
    const fields = { 'Content-Range': lane.contentRange(body) };
    await lane.insist({ method: 'POST', target: `/${name}`, fields, body }, [200]);
  }
  return name;
};

const protocols = { gears, checkpoints, parallel, tus, uploadx, restart, chunked };

/**
 * Uploads one content. Resolves with `name`, that of what is stored; or with `failed`; or with neither when the run
 * was over before.
 */
export const uploadThrough = async (protocol, number, size, newLink) => {
  const link = newLink();
  try {
    return { number, name: await protocols[protocol](new Lane(link, number, size), newLink) };
  } catch (error) {
    return error instanceof Stopped ? { number } : { number, failed: String(error) };
  } finally {
    link.close();
  }
};
