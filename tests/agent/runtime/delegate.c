/* A library with TFLite's external delegate interface (tensorflow/lite/delegates/external/external_delegate_interface.h)
   that computes nothing: it takes no operator over. What it does when it is opened is chosen when it is compiled. */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/file.h>

/* As tensorflow/lite/core/c/common.h has it. */
struct delegate {
    void *data;
    int (*prepare)(void *context, struct delegate *delegate);
    void *copy_from, *copy_to, *free_buffer;
    int64_t flags;
    void *opaque_builder;
};

static int take_nothing(void *context, struct delegate *delegate) { return 0; }

struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
#ifdef NO_DEVICE
    report("no stick is plugged in");
    return NULL;
#endif
#ifdef ONE_PROCESS
    /* As an Edge TPU: it belongs to the process that opened it, for as many delegates as that wants. */
    static int stick = -1;
    if (stick < 0)
        stick = open(getenv("STICK"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (flock(stick, LOCK_EX | LOCK_NB)) {
        report("the stick is open in another process");
        return NULL;
    }
#endif
#ifdef CRASHES
    raise(SIGSEGV);
#endif
    struct delegate *made = calloc(1, sizeof *made);
    made->prepare = take_nothing;
    return made;
}

void tflite_plugin_destroy_delegate(struct delegate *delegate) { free(delegate); }
