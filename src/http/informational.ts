import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AnswerHead } from './answer.ts';

/**
 * Sends an interim response (RFC 9110 section 15.2), if one may be sent now; says whether it was. Node offers
 * no method for an arbitrary 1xx on all its supported versions, so the head is written to the socket itself.
 * Never to HTTP/1.0, never behind the final head, and not while an earlier response of a pipeline still owns
 * the connection.
 */
export const sendInformation = (req: IncomingMessage, res: ServerResponse, head: AnswerHead): boolean => {
  const { socket } = res;
  if (req.httpVersion !== '1.1' || res.headersSent || socket === null || !socket.writable) return false;
  socket.write(printHead(head), 'latin1');
  return true;
};

/** A response head as bytes on the wire. Throws on what could end a line or a header early. */
export const printHead = ({ status, reason, headers }: Omit<AnswerHead, 'body'>): string => {
  let text = `HTTP/1.1 ${status} ${plain(reason)}\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    for (const item of [value ?? []].flat()) text += `${plain(name)}: ${plain(String(item))}\r\n`;
  }
  return `${text}\r\n`;
};

const plain = (value: string): string => {
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new TypeError('a header cannot hold this character');
  return value;
};
