/* Stands in for the Python that the agent starts its children with: has `forkserver` fork one that has everything
 * loaded, hands it our arguments and standard streams, and ends as it ends. Saves most of a second of imports a child.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, getenv("KILLING_SOCKET"), sizeof address.sun_path - 1);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&address, sizeof address)) return 120;
    char message[8192];
    size_t size = 0;
    for (int i = 1; i < count; i++) {
        size_t n = strlen(words[i]) + 1;
        if (size + n > sizeof message) return 121;
        memcpy(message + size, words[i], n);
        size += n;
    }
    struct iovec part = {message, size};
    char control[CMSG_SPACE(3 * sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *files = CMSG_FIRSTHDR(&header);
    files->cmsg_level = SOL_SOCKET;
    files->cmsg_type = SCM_RIGHTS;
    files->cmsg_len = CMSG_LEN(3 * sizeof(int));
    memcpy(CMSG_DATA(files), (int[]){0, 1, 2}, 3 * sizeof(int));
    if (sendmsg(s, &header, 0) != (ssize_t)size) return 122;
    int status;
    if (read(s, &status, sizeof status) != sizeof status) return 123;
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        kill(getpid(), WTERMSIG(status));
        pause();
    }
    return WEXITSTATUS(status);
}
