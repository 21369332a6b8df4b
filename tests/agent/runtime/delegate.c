/* A library with TFLite's external delegate interface (tensorflow/lite/delegates/external/external_delegate_interface.h)
   that computes nothing: it takes no operator over. What it does when it is opened is chosen when it is compiled. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

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
#ifdef CRASHES
    raise(SIGSEGV);
#endif
    struct delegate *made = calloc(1, sizeof *made);
    made->prepare = take_nothing;
    return made;
}

void tflite_plugin_destroy_delegate(struct delegate *delegate) { free(delegate); }
