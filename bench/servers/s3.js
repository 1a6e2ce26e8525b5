// What every process that uses the S3 server shares: the same bucket, the same client options, and a count of
// the requests that go over the wire.
import { setTimeout as sleep } from 'node:timers/promises';

export const { bucket, clientOptions } = JSON.parse(process.env.BENCH_S3 ?? '{}');

/** Nobody can tell when a server has done all it does after its answer but by its silence. */
const quietMs = 500;

/** Whether a request brings new bytes of a content: a part, or less than a part, in either store's way. */
const bringsContent = (command, { Key = '' }) =>
  command === 'UploadPartCommand' ||
  (command === 'PutObjectCommand' && (Key.includes('/fragment/') || Key.endsWith('.part')));

/**
 * Counts each try of each request. The answer `requests` waits until the client is silent, tells what was sent
 * since it was last asked, in order, and starts anew. It also tells how much of that had been sent when the body
 * of the request that the server got last was first wanted.
 */
export const countRequests = (client, server) => {
  let seen = [];
  let beforeBody = 0;
  let begun = 0;
  let underWay = 0;
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        seen.push({
          operation: commandName.replace(/Command$/, ''),
          bringsContent: bringsContent(commandName, args.input),
        });
        begun++;
        underWay++;
        try {
          return await next(args);
        } finally {
          underWay--;
        }
      },
    // After the step that tries again.
    { step: 'finalizeRequest', priority: 'low', name: 'countRequests' },
  );
  server.prependListener('request', (req) => {
    const { _read } = req;
    // However a body is read, its stream calls this; nothing before it takes a byte beyond its buffer.
    req._read = (size) => {
      req._read = _read;
      beforeBody = seen.length;
      return _read.call(req, size);
    };
  });
  const requests = async () => {
    for (let before = -1; underWay > 0 || before !== begun; ) {
      before = begun;
      await sleep(quietMs);
    }
    const told = { sent: seen, beforeBody };
    seen = [];
    beforeBody = 0;
    return told;
  };
  return { requests };
};
