/** The documents of the local API that the verbs show. Field names are stable: docs/cli.md. */

export type { DoctorView, ForwardView, PeerView, ShareView, StatusView } from '@claw/gateway';
