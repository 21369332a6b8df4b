/* Stands in for the Python that the agent starts its children with: has `forkserver` fork one that has everything
 * loaded, hands it our arguments and every open descriptor, and ends as it ends. Saves most of a second of imports a child.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 64

int main(int count, char **words) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, getenv("KILLING_SOCKET"), sizeof address.sun_path - 1);
    int open_here[MOST], open_count = 0;
    for (int fd = 0; fd < 1024 && open_count < MOST; fd++)
        if (fcntl(fd, F_GETFD) >= 0) open_here[open_count++] = fd;
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&address, sizeof address)) return 120;
    char message[8192];
    size_t size = 0;
    for (int i = 0; i < open_count; i++) size += sprintf(message + size, "%d,", open_here[i]);
    message[size++] = 0;
    for (int i = 1; i < count; i++) {
        size_t n = strlen(words[i]) + 1;
        if (size + n > sizeof message) return 121;
        memcpy(message + size, words[i], n);
        size += n;
    }
    struct iovec part = {message, size};
    char control[CMSG_SPACE(MOST * sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    header.msg_controllen = CMSG_SPACE(open_count * sizeof(int));
    struct cmsghdr *files = CMSG_FIRSTHDR(&header);
    files->cmsg_level = SOL_SOCKET;
    files->cmsg_type = SCM_RIGHTS;
    files->cmsg_len = CMSG_LEN(open_count * sizeof(int));
    memcpy(CMSG_DATA(files), open_here, open_count * sizeof(int));
    if (sendmsg(s, &header, 0) != (ssize_t)size) return 122;
    for (int i = 0; i < open_count; i++) close(open_here[i]); /* or their other ends would not hear of the child's end */
    int status;
    if (read(s, &status, sizeof status) != sizeof status) return 123;
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        kill(getpid(), WTERMSIG(status));
        pause();
    }
    return WEXITSTATUS(status);
}
