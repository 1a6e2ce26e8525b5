// The load of an upload in thousands of pieces: one request after the other, each with one range, over a raw socket.
import { pathOf } from './names.js';
import { readResponse } from './response.js';
import { head, open } from './sending.js';
import { length, rangeBytes, startOf } from './slots.js';
import { answerHarness } from './support.js';

const content = Buffer.alloc(rangeBytes, 'resumable');

/** Sends ranges from number `first` on. Resolves with the milliseconds of each, and how many ranges its answer lists. */
const send = async ({ port, number, first, ranges }) => {
  const socket = await open(port);
  const sent = [];
  for (let n = first; n < first + ranges; n++) {
    const start = startOf(n);
    const request = head('PUT', pathOf(number), {
      'Content-Range': `bytes ${start}-${start + rangeBytes - 1}/${length}`,
      'Content-Length': rangeBytes,
    });
    const begun = performance.now();
    const response = readResponse(socket);
    socket.write(Buffer.concat([Buffer.from(request), content]));
    const { status, fields } = await response;
    const ms = performance.now() - begun;
    if (status !== 308) throw new Error(`range ${n} was answered ${status}`);
    sent.push({ ms, listed: fields.range?.split(',').length ?? 0 });
  }
  socket.destroy();
  return sent;
};

answerHarness({ send });
