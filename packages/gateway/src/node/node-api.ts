/** The local API of a node: its routes on the gateway server, and the session file by which the CLI finds it. */

import { createSession, openGatewayServer, removeSessionFile, writeSessionFile } from '../api/index.ts';
import type { Node } from './node.ts';
import { nodeRoutes } from './node-routes.ts';
import { serviceRoutes, serviceUpgrades } from './service-routes.ts';
