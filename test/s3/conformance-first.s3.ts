import { conformanceOn } from '../support/s3-conformance.ts';

await conformanceOn(0);
