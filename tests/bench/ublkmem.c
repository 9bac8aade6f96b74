// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ublk server that answers from memory, to compare blob with. Debian has
 * none; this one does as little as the interface allows: one queue, one
 * thread, and reads are answered out of FILE itself, mapped and locked.
 *
 *	ublkmem FILE
 *
 * Prints the block device when it is there. Only for reading.
 */
#include <fcntl.h>
#include <linux/ublk_cmd.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "ring.h"

#define DEPTH		128
#define MAX_BYTES	1048576

/* Debian 12's header has only the old numbers, which kernels may refuse. */
#define UBLK_CTRL(nr)	_IOWR('u', nr, struct ublksrv_ctrl_cmd)
#define UBLK_IO(nr)	_IOWR('u', nr, struct ublksrv_io_cmd)

static char *image;
static struct ublksrv_ctrl_dev_info info = {
	.nr_hw_queues = 1, .queue_depth = DEPTH,
	.max_io_buf_bytes = MAX_BYTES, .dev_id = -1,
};

/* Each on a ring of its own, so any thread may. */
static void command(unsigned int op, void *arg, size_t len, pid_t pid)
{
	struct ublksrv_ctrl_cmd *cmd;
	struct io_uring_sqe *sqe;
	int fd = open("/dev/ublk-control", O_RDWR);
	struct ring r;

	if (fd < 0)
		die("/dev/ublk-control");
	ring_open(&r, 1, IORING_SETUP_SQE128);
	sqe = ring_sqe(&r);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = op;
	cmd = (void *)sqe->cmd;
	cmd->dev_id = info.dev_id;
	cmd->queue_id = -1;
	cmd->addr = (uintptr_t)arg;
	cmd->len = len;
	cmd->data[0] = pid;
	ring_enter(&r, 1);
	errno = -ring_cqe(&r)->res;
	if (errno)
		die("ublk");
	close(r.fd);
	close(fd);
}

/* It reads the partition table, so somebody has to serve meanwhile. */
static void *start(void *unused)
{
	command(UBLK_CTRL(UBLK_CMD_START_DEV), NULL, 0, getpid());
	printf("/dev/ublkb%u\n", info.dev_id);
	fflush(stdout);
	return unused;
}

static void fetch(struct ring *r, unsigned int op, unsigned int tag, int res,
		  const char *bytes)
{
	struct io_uring_sqe *sqe = ring_sqe(r);
	struct ublksrv_io_cmd *cmd = (void *)sqe->cmd;

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->cmd_op = op;
	sqe->user_data = tag;
	cmd->q_id = 0;
	cmd->tag = tag;
	cmd->result = res;
	cmd->addr = (uintptr_t)bytes;
}

static void serve(struct ring *r, const struct ublksrv_io_desc *descs)
{
	const struct io_uring_cqe *cqe;

	for (;;) {
		ring_enter(r, 1);
		for (; (cqe = ring_cqe(r)); ring_seen(r)) {
			unsigned int tag = cqe->user_data;
			const struct ublksrv_io_desc *d = &descs[tag];
			char *bytes = image;
			int res = -EOPNOTSUPP;

			if (cqe->res != UBLK_IO_RES_OK)
				exit(cqe->res != UBLK_IO_RES_ABORT);
			if (ublksrv_get_op(d) == UBLK_IO_OP_READ) {
				bytes += d->start_sector << 9;
				res = d->nr_sectors << 9;
			}
			fetch(r, UBLK_IO(UBLK_IO_COMMIT_AND_FETCH_REQ), tag, res,
			      bytes);
		}
	}
}

int main(int argc, char **argv)
{
	struct ublk_params params = {
		.len = sizeof(params), .types = UBLK_PARAM_TYPE_BASIC,
		.basic = {
			.attrs = UBLK_ATTR_READ_ONLY, .logical_bs_shift = 9,
			.physical_bs_shift = 12, .io_opt_shift = 12,
			.io_min_shift = 12, .max_sectors = MAX_BYTES >> 9,
		},
	};
	struct ublksrv_io_desc *descs;
	pthread_t thread;
	struct stat st;
	struct ring r;
	char name[32];
	unsigned int i;
	int fd;

	if (argc != 2)
		return 2;
	fd = open(argv[1], O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		die(argv[1]);
	image = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
		     0);
	if (image == MAP_FAILED || mlockall(MCL_CURRENT))
		die("mmap");

	info.ublksrv_pid = getpid();
	command(UBLK_CTRL(UBLK_CMD_ADD_DEV), &info, sizeof(info), 0);
	params.basic.dev_sectors = st.st_size >> 9;
	command(UBLK_CTRL(UBLK_CMD_SET_PARAMS), &params, sizeof(params), 0);
	snprintf(name, sizeof(name), "/dev/ublkc%u", info.dev_id);
	fd = open(name, O_RDWR);
	if (fd < 0)
		die(name);
	descs = mmap(NULL, DEPTH * sizeof(*descs), PROT_READ,
		     MAP_SHARED | MAP_POPULATE, fd, UBLKSRV_CMD_BUF_OFFSET);
	if (descs == MAP_FAILED)
		die(name);
	ring_open(&r, DEPTH, IORING_SETUP_SINGLE_ISSUER |
		  IORING_SETUP_DEFER_TASKRUN);
	ring_file(&r, fd);
	for (i = 0; i < DEPTH; i++)
		fetch(&r, UBLK_IO(UBLK_IO_FETCH_REQ), i, -1, image);
	ring_enter(&r, 0);
	if (pthread_create(&thread, NULL, start, NULL))
		die("pthread_create");
	serve(&r, descs);
}
