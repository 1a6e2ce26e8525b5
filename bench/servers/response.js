// Reads one HTTP/1.1 response from a raw socket: as much of the protocol as the benchmarked servers speak.

const parseHead = (text) => {
  const [statusLine, ...lines] = text.split('\r\n');
  const fields = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    fields[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(statusLine.split(' ')[1]), fields };
};

/** A chunked body's content, or undefined while it is incomplete. */
const joinChunks = (text) => {
  let body = '';
  let at = 0;
  for (;;) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const length = Number.parseInt(text.slice(at, lineEnd), 16);
    if (length === 0) return text.indexOf('\r\n\r\n', lineEnd) < 0 ? undefined : body;
    const start = lineEnd + 2;
    if (text.length < start + length + 2) return undefined;
    body += text.slice(start, start + length);
    at = start + length + 2;
  }
};

/** The head that `text` begins with and what is behind it, or undefined while it is incomplete. */
const takeHead = (text) => {
  const end = text.indexOf('\r\n\r\n');
  return end < 0 ? undefined : { ...parseHead(text.slice(0, end)), rest: text.slice(end + 4) };
};

/** The final response in `text`, or undefined while it is incomplete. */
const parse = (text, bodiless) => {
  const head = takeHead(text);
  if (head === undefined) return undefined;
  const { status, fields, rest } = head;
  if (bodiless || status === 204 || status === 304) return { status, fields, body: '' };
  if (fields['transfer-encoding'] === 'chunked') {
    const body = joinChunks(rest);
    return body === undefined ? undefined : { status, fields, body };
  }
  const length = Number(fields['content-length']);
  if (Number.isNaN(length)) throw new Error(`response ${status} has no length`);
  return rest.length < length ? undefined : { status, fields, body: rest.slice(0, length) };
};

/**
 * Resolves once the whole response, head and body, has arrived. `bodiless`: the one to a HEAD has no body,
 * whatever it says. `onInterim` is told of every response before it (1xx).
 */
export const readResponse = (socket, { bodiless = false, onInterim = () => {} } = {}) =>
  new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk) => {
      text += chunk.toString('latin1');
      try {
        while (/^HTTP\/1\.1 1/.test(text)) {
          const interim = takeHead(text);
          if (interim === undefined) return;
          text = interim.rest;
          onInterim(interim);
        }
        const response = parse(text, bodiless);
        if (response) settle(resolve, response);
      } catch (error) {
        settle(reject, error);
      }
    };
    const onError = (error) => settle(reject, error);
    const onClose = () => settle(reject, new Error(`closed within the response: ${JSON.stringify(text)}`));
    const settle = (done, value) => {
      socket.off('data', onData).off('error', onError).off('end', onClose).off('close', onClose);
      // A late reset on a connection that has its answer is nobody's failure.
      if (socket.listenerCount('error') === 0) socket.on('error', () => {});
      done(value);
    };
    socket.on('data', onData).on('error', onError).on('end', onClose).on('close', onClose);
  });
