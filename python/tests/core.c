/* A core of another version, as far as the package can tell: what it answers depends on the question. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void (*vsitlm_answer)(void *user, const char *json, void *samples);

struct question {
    char text[64];
    vsitlm_answer answer;
    void *user;
};

static void *tell(void *asked) {
    struct question *question = asked;
    /* "late": when the interpreter is gone. */
    usleep(strcmp(question->text, "late") == 0 ? 300000 : 20000);
    question->answer(question->user, question->text, NULL);
    free(question);
    return NULL;
}

/* Where the interpreter is gone, the process is still there for the late answer. */
__attribute__((destructor)) static void linger(void) {
    if (getenv("LINGER"))
        usleep(600000);
}

const char *vsitlm_version(void) { return "0.0.1"; }

void GDALRegister_vsitlm(void) {}

#ifndef OLD
uint64_t vsitlm_ask(const char *text, vsitlm_answer answer, void *user) {
    pthread_t thread;
    struct question *question;
    if (strcmp(text, "bug") == 0)
        return 0;
    if (strcmp(text, "never") == 0)
        return 7;
    if (strcmp(text, "at once") == 0) {
        answer(user, text, NULL);
        return 8;
    }
    question = calloc(1, sizeof *question);
    strncpy(question->text, text, sizeof question->text - 1);
    question->answer = answer;
    question->user = user;
    pthread_create(&thread, NULL, tell, question);
    pthread_detach(thread);
    return 9;
}

int vsitlm_cancel(uint64_t question) {
    if (question == 7)
        fputs("cancelled\n", stderr);
    return question == 7;
}
#endif
