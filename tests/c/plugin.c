/* Calls the plugin's C entry points from C: `plugin PLUGIN PATH...`, PATH being files below /vsitlm/.
 *
 * libgdal is linked, the plugin is loaded by GDAL itself where GDAL_DRIVER_PATH names it, else by dlopen. */
#include <dlfcn.h>
#include <gdal.h>
#include <cpl_vsi.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "../../include/vsitlm.h"

/* As Arrow's C stream interface has it; functions take and fill structs of Arrow's. */
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, void *);
    int (*get_next)(struct ArrowArrayStream *, void *);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

/* A symbol of the plugin, with the type that the header declares. */
#define SYMBOL(plugin, name) ((__typeof__(&name))dlsym(plugin, #name))

/* Takes the answer to a question. */
struct answer {
    sem_t told;
    char json[4096];
};

static void take(void *user, const char *json, struct vsitlm_samples *samples)
{
    struct answer *answer = user;
    if (samples != NULL)
        samples->release(samples);
    snprintf(answer->json, sizeof answer->json, "%s", json);
    sem_post(&answer->told);
}

static int fail(const char *what)
{
    fprintf(stderr, "plugin.c: %s\n", what);
    return 1;
}

int main(int count, char **arguments)
{
    if (count < 3)
        return fail("usage: plugin PLUGIN PATH...");
    GDALAllRegister();
    void *plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        return fail(dlerror());

    void (*by_name)(void) = SYMBOL(plugin, GDALRegister_vsitlm);
    void (*by_default)(void) = SYMBOL(plugin, GDALRegisterMe);
    const char *(*version)(void) = SYMBOL(plugin, vsitlm_version);
    uint64_t (*read_errors)(void) = SYMBOL(plugin, vsitlm_read_errors);
    size_t (*last_error)(char *, size_t) = SYMBOL(plugin, vsitlm_last_error);
    size_t (*gdals)(char *, size_t) = SYMBOL(plugin, vsitlm_gdals);
    int (*command)(int, const char *const *) = SYMBOL(plugin, vsitlm_command);
    uint64_t (*ask)(const char *, vsitlm_answer, void *) = SYMBOL(plugin, vsitlm_ask);
    int (*cancel)(uint64_t) = SYMBOL(plugin, vsitlm_cancel);
    size_t (*index_rows)(const char *, const char *, struct ArrowArrayStream *, char *, size_t) = SYMBOL(plugin, vsitlm_index_rows);
    if (!index_rows || !by_name || !by_default || !version || !read_errors || !last_error || !gdals || !command || !ask || !cancel)
        return fail("a function of vsitlm.h is missing");

    by_name();
    by_default();
    by_name();
    if (strlen(version()) < 5)
        return fail("vsitlm_version gives no version");
    for (int number = 2; number < count; number++) {
        VSIStatBufL stat;
        if (VSIStatL(arguments[number], &stat) != 0)
            return fail("a file has no stat");
        GDALDatasetH dataset = GDALOpen(arguments[number], GA_ReadOnly);
        if (dataset == NULL)
            return fail("a file does not open");
        printf("%d %d %lld\n", GDALGetRasterXSize(dataset), GDALGetRasterYSize(dataset), (long long)stat.st_size);
        GDALClose(dataset);
    }

    char json[4096];
    if (gdals(json, sizeof json) != strlen(json))
        return fail("vsitlm_gdals is cut");
    printf("%s\n", json);

    struct answer answer;
    sem_init(&answer.told, 0, 0);
    char question[4096];
    snprintf(question, sizeof question, "{\"ask\": \"describe\", \"path\": \"%s\"}", arguments[2]);
    uint64_t number = ask(question, take, &answer);
    if (number == 0 || sem_wait(&answer.told) != 0)
        return fail("a question is not answered");
    printf("%s\n", answer.json);
    if (cancel(number) != 0 || ask(question, NULL, NULL) != 0)
        return fail("a question that was answered is cancelled, or nobody's is asked");
    if (ask("{", take, &answer) == 0 || sem_trywait(&answer.told) != 0)
        return fail("what is no question is not answered at once");
    printf("%s\n", answer.json);
    if (ask(NULL, take, &answer) == 0 || sem_trywait(&answer.told) != 0)
        return fail("null for a question is not answered at once");

    struct ArrowArrayStream rows = {NULL, NULL, NULL, NULL, NULL};
    if (index_rows("/none.parquet", "{\"VSITLM_CACHE_DIR\": \"NO\"}", &rows, json, sizeof json) != strlen(json) || strstr(json, "NotFound") == NULL)
        return fail("an index that is not there is opened");
    if (rows.release != NULL || index_rows(NULL, NULL, &rows, NULL, 0) == 0 || index_rows("/none.parquet", NULL, NULL, NULL, 0) == 0)
        return fail("rows of no index, or for nobody");

    const char *const version_of[] = {"vsitlm", "--version"}, *const nonsense[] = {"vsitlm", "--nonsense"};
    const char *const with_null[] = {"vsitlm", NULL};
    fflush(stdout);
    if (command(2, version_of) != 0 || command(2, nonsense) != 2)
        return fail("vsitlm_command gives other exit codes");
    if (command(2, NULL) != 2 || command(2, with_null) != 2)
        return fail("vsitlm_command takes null for an argument");

    char buffer[8] = "unset";
    if (read_errors() != 0 || last_error(NULL, 0) != 0 || last_error(buffer, sizeof buffer) != 0 || buffer[0] != '\0')
        return fail("errors without an error");
    return 0;
}
