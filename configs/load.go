package configs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/viper"
)

// Default returns the default configuration, whatever the environment says.
func Default() (*Config, error) { return load("", nil, noEnvironment{}, (*Config).complete) }

// Load returns the settings of a file (none when path is empty) over the defaults,
// of the environment over those, and of overrides, by their names, over all.
// Errors name the settings concerned, all of them at once.
func Load(path string, overrides map[string]string) (*Config, error) {
	return load(path, overrides, processEnvironment{}, (*Config).complete)
}

// LoadCentre is Load for who only talks to the configuration centre: of secrets it
// reads none but registry.uri, and it judges the registry and the settings that can
// change, whatever is wrong with the others or missing.
func LoadCentre(path string, overrides map[string]string) (*Config, error) {
	return load(path, overrides, processEnvironment{}, func(c *Config, env environment) error {
		var f findings
		c.validateRegistry(&f)
		c.validateDynamic(&f)
		return errors.Join(c.readSecrets(env, "registry.uri"), errors.Join(f.errs...))
	})
}

// LoadAdmin is Load for who only asks the operators' listener: of the rest nothing is
// judged, and no secret is read.
func LoadAdmin(path string, overrides map[string]string) (*Config, error) {
	return load(path, overrides, processEnvironment{}, func(c *Config, _ environment) error {
		var f findings
		c.validateAdmin(&f)
		return errors.Join(f.errs...)
	})
}

// Check judges a file, or none when path is empty, and overrides alone. The
// environment is not looked at, so that addresses and secrets that it may give are
// not missed, and the secret files that are named are not opened.
func Check(path string, overrides map[string]string) error {
	_, err := load(path, overrides, unknownEnvironment{}, (*Config).complete)
	return err
}

// complete fills in all secrets and judges all settings.
func (c *Config) complete(env environment) error {
	return errors.Join(c.readSecrets(env), c.validate())
}

// environment is what stands outside the file: variables and secret files.
type environment interface {
	lookup(name string) string
	readFile(path string) (string, error)
}

type processEnvironment struct{}

func (processEnvironment) lookup(name string) string { return os.Getenv(name) }

func (processEnvironment) readFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}

type noEnvironment struct{}

func (noEnvironment) lookup(string) string            { return "" }
func (noEnvironment) readFile(string) (string, error) { return "", nil }

// unknown is of what secrets and addresses consist that an environment may give.
const unknown = "?"

// unknownEnvironment stands for one that gives every secret and address there is.
type unknownEnvironment struct{ noEnvironment }

func (unknownEnvironment) lookup(name string) string {
	var c Config
	for _, s := range c.secrets() {
		if Variable(s.key) == name {
			return strings.Repeat(unknown, s.min)
		}
	}
	return ""
}

// Variable returns the environment variable of a setting.
func Variable(setting string) string {
	return "IM_" + strings.ToUpper(strings.ReplaceAll(setting, ".", "_"))
}

// Unknown returns the names of variables ("NAME=value") that look like settings and
// are none: probably misspelt. They are no errors, because others (an
// orchestrator, the tests) set variables with such names too.
func Unknown(variables []string) []string {
	v := viper.New()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(defaultYAML)); err != nil {
		return nil
	}
	known := map[string]bool{"IM_INSTALL": true}
	for _, key := range append(v.AllKeys(), secretKeys...) {
		known[Variable(key)] = true
	}
	var unknown []string
	for _, variable := range variables {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "IM_") && !strings.HasPrefix(name, "IM_TEST_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// load puts the settings together, and has them judged and secrets filled in.
func load(path string, overrides map[string]string, env environment, judge func(*Config, environment) error) (*Config, error) {
	v := viper.New()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(defaultYAML)); err != nil {
		return nil, fmt.Errorf("read the default configuration: %w", err)
	}
	known := v.AllKeys()
	slices.Sort(known)
	if err := mergeFile(v, path, known); err != nil {
		return nil, err
	}
	for _, key := range known {
		if value := env.lookup(Variable(key)); value != "" {
			v.Set(key, value)
		}
	}
	if err := override(v, overrides, known); err != nil {
		return nil, err
	}
	var c Config
	if err := v.UnmarshalExact(&c); err != nil {
		return nil, errors.New("settings of a wrong type: " + strings.TrimPrefix(err.Error(), viperPreamble))
	}
	if err := judge(&c, env); err != nil {
		return nil, err
	}
	return &c, nil
}

// viperPreamble is what viper begins a list of wrong types with.
const viperPreamble = "decoding failed due to the following error(s):\n\n"

// mergeFile lays a file's settings over the defaults.
func mergeFile(v *viper.Viper, path string, known []string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	file := viper.New()
	file.SetConfigType("yaml")
	if err := file.ReadConfig(bytes.NewReader(text)); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	keys := file.AllKeys()
	slices.Sort(keys)
	var errs []error
	for _, key := range keys {
		value := file.Get(key)
		if value == nil && (isSection(key, known) || slices.Contains(known, key)) {
			continue // nothing is said under it: the defaults stand
		}
		if err := judge(key, fmt.Sprint(value), known); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err)) // each line by itself
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return v.MergeConfigMap(file.AllSettings())
}

// override lays flags over everything else.
func override(v *viper.Viper, overrides map[string]string, known []string) error {
	var errs []error
	for key, value := range overrides {
		errs = append(errs, judge(key, value, known))
		v.Set(key, value)
	}
	return errors.Join(errs...)
}

// judge says whether a setting may stand in a file or on a command line.
func judge(key, value string, known []string) error {
	switch {
	case slices.Contains(secretKeys, key):
		return fmt.Errorf("%s is a secret: give it as %s, or in a file named by %s_file", key, Variable(key), key)
	case isSection(key, known):
		return fmt.Errorf("%s is a section of settings, not a setting", key)
	case !slices.Contains(known, key):
		return fmt.Errorf("%s: no such setting", key)
	case strings.HasSuffix(key, ".uri") && hasPassword(value):
		return fmt.Errorf("%s holds a password: give it as %s, or in a file named by %s_file", key, Variable(key), key)
	}
	return nil
}

func isSection(key string, known []string) bool {
	return slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, key+".") })
}
