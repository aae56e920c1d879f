#ifndef TEST_MCP_PEERS_H
#define TEST_MCP_PEERS_H

/*
 * What 1bit-halo-mcp asks, played by two children of the test, since NNG
 * forbids fork() after its first call: a decode worker on its socket, and a
 * gateway on a port of its own whose worker "sleeps".  They end with the test.
 */
void mcp_peers_start(const char *runtime_dir, int *gateway_port);
void mcp_peers_stop(void);

/* A socket that listens on a free port of 127.0.0.1. */
int mcp_peers_listen(int *port);

#endif
