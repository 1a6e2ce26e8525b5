import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';

// Middleware passes on the request object it was given, so an application sees one object whatever becomes of
// the connection. What the connection delivers and what the application reads are two things all the same.

/** What Node's own methods find their stream in, and what its parser says of a request. */
interface Parts {
  _readableState: unknown;
  _events: object;
  _eventsCount: number;
  _consumed: boolean;
}

const { push, _destroy, destroy } = IncomingMessage.prototype;

/**
 * Takes a request's body away from it: what has arrived, and what Node's parser will deliver, is read from the
 * object that is returned, which knows all that the request knows. The request itself has no body any more until
 * it is given one (`holdRequest`).
 */
export const takeBody = (req: IncomingMessage): IncomingMessage => {
  const wire = Object.create(req) as IncomingMessage & Parts;
  const { _readableState, _read } = req as IncomingMessage & Partial<Parts>;
  Object.assign(wire, { push, _read, _destroy, destroy });
  // Once it is gone, the request has a stand-in for it, which is not to end with this body.
  Object.assign(wire, { socket: req.socket });
  // Listeners stay with the request; the state, and with it what is buffered, moves.
  Object.assign(wire, { _readableState, _events: Object.create(null), _eventsCount: 0, _consumed: false });
  Object.assign(req, {
    // The parser's only ways to reach its request: a chunk or the end, and the end of the connection.
    push: (chunk: Buffer | null) => push.call(wire, chunk),
    destroy: (error?: Error) => {
      destroy.call(wire, error);
      return req;
    },
    _consumed: true, // else Node would drop what is unread once the response has ended
  });
  return wire;
};

/** Undoes `takeBody`, while the request has been given no other body. */
export const returnBody = (req: IncomingMessage): void => {
  for (const name of ['push', 'destroy']) Reflect.deleteProperty(req, name);
  Object.assign(req, { _consumed: false });
};

/** The body of a request that it was given is delivered by its stream's own method. */
export const pushOwn = (req: IncomingMessage, chunk: Buffer | null): boolean => push.call(req, chunk);

const remote = ['remoteAddress', 'remotePort', 'remoteFamily'] as const;
const local = ['localAddress', 'localPort', 'localFamily'] as const;

/** Node keeps the one end of a connection that is gone, once it was asked for; this keeps the other. */
const localEnds = new WeakMap<Socket, Pick<Socket, (typeof local)[number]>>();

/** Notes who is at both ends of a connection, which nobody can ask once it is gone. */
export const noteAddresses = (socket: Socket): void => {
  void socket.remoteAddress;
  if (localEnds.has(socket)) return;
  const { localAddress, localPort, localFamily } = socket;
  localEnds.set(socket, { localAddress, localPort, localFamily } as Socket);
};

/**
 * A connection that is gone, as it was before: many a parser asks the socket whether a body can still come, and
 * here it comes from the store.
 */
export const standIn = (gone: Socket): Socket => {
  const socket = new Socket();
  for (const name of remote) Object.defineProperty(socket, name, { value: gone[name] });
  for (const name of local) Object.defineProperty(socket, name, { value: localEnds.get(gone)?.[name] });
  if ('encrypted' in gone) Object.assign(socket, { encrypted: gone.encrypted });
  return socket;
};
